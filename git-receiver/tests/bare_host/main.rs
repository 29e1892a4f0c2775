//! git clients against `examples/bare-host`: the receiver over repositories on disk, through pipes and HTTP. The same tests
//! run against git's own server programs, which define the expected behaviour.

mod config;
mod fetch;
mod hooks;
mod host;
mod negotiation;
mod ref_updates;
mod shallow;
mod transport;
