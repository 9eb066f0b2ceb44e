-- Dagster's runs and events lie beside the books, in a database of their own.
create database dagster;
