//! The journeys of PiCloud's users, against the built binary, the real git and both databases.

mod asking;
mod backup;
mod bad_input;
mod caddy;
mod calling;
mod cli;
mod clients;
mod cloning;
mod concurrency;
mod dev;
mod executions;
mod http;
mod killed;
mod limits;
mod metrics;
mod nodes;
mod people;
mod postgres;
mod previews;
mod pushing;
mod restart;
mod rollback;
mod schedules;
mod traces;
mod under_load;
mod verbs;
