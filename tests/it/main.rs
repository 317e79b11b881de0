//! The tests through the real binary, a real MongoDB and the simulated platforms over HTTP.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "the figures that a test has come to are for its reader")]

mod account;
mod answers;
mod categories;
mod commands;
mod crash;
mod deliveries;
mod documents;
mod failures;
mod files;
mod forecast;
mod fuzz;
mod generated;
mod genuine;
mod holes;
mod hosts;
mod kill;
mod machine;
mod man;
mod memory;
mod model;
mod operator;
mod outcomes;
mod picture;
mod plans;
mod privileges;
mod publish;
mod rows;
mod schedule;
mod screens;
mod secrets;
mod security;
mod settings;
mod signals;
mod sqlite;
mod stopped;
mod store;
mod support;
mod text;
mod tls;
