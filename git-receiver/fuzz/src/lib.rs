//! The invariants of git-receiver for any input, checked with mutated inputs through its public functions.
//!
//! - [`wire`]: encoders of packets, packs and deltas, and an independent delta decoder
//! - [`recipe`]: a text format for pushes, so that a mutated text still becomes a well-formed request
//! - [`repository`]: an in-memory repository, and [`mod@base`], the one that all inputs are sent to
//! - [`invariants`]: the invariants of accepted inputs
//!
//! Two programs use it: libFuzzer's, in `targets/`, and the crate's tests, which run the corpora with a fixed number of
//! mutations and check accepted inputs with the real git.

pub mod base;
pub mod invariants;
pub mod recipe;
pub mod repository;
pub mod wire;

use std::cell::OnceCell;

use git_receiver::{Limits, ObjectId, Protocol, Received, UnpackError, UnpackedPush};

use base::base;
use invariants::Accepted;
use recipe::Recipe;
use repository::{DecodedObject, MemoryRepository};

/// A fuzz target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The body of a request to receive-pack; only the pack's checksum is corrected.
    Request,
    /// A push as a [`Recipe`].
    Pack,
    /// One object, as a section of a recipe.
    Object,
    /// A request to upload-pack, in protocols v0 and v2.
    Upload,
}

/// The result of an input.
#[derive(Debug)]
pub enum Outcome {
    /// It was rejected, with this message.
    Refused(String),
    /// The accepted push, or the response to a fetch.
    Accepted(Box<Accepted>),
}

/// Small enough that mutations can reach every limit.
fn limits() -> Limits {
    Limits {
        request_bytes: 1 << 18,
        commands: 16,
        head_bytes: 1 << 14,
        objects: 64,
        object_bytes: 1 << 14,
        inflated_bytes: 1 << 17,
        delta_depth: 8,
    }
}

thread_local! {
    static RUNTIME: OnceCell<tokio::runtime::Runtime> = const { OnceCell::new() };
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with(|cell| {
        let make = || tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        cell.get_or_init(make).block_on(future)
    })
}

impl Target {
    /// The name of its program and of its corpus directory.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Pack => "pack",
            Self::Object => "object",
            Self::Upload => "upload",
        }
    }

    /// Passes `input` to git-receiver and checks the invariants.
    ///
    /// # Panics
    /// An invariant is violated.
    pub fn run(self, input: &[u8]) -> Outcome {
        match self {
            Self::Request => push(&with_checksum(input)),
            Self::Pack => push_recipe(&Recipe::read(input, base())),
            Self::Object => push_recipe(&Recipe::of_one_section(input, base())),
            Self::Upload => {
                let outcomes = [Protocol::V0, Protocol::V2].map(|protocol| fetch(protocol, input));
                let refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(_));
                outcomes.into_iter().reduce(|a, b| if refused(&a) { b } else { a }).expect("two outcomes")
            }
        }
    }
}

/// Corrects the checksum of the pack at the end of `request`, if there is one. Twenty zero bytes are left alone, so that a
/// wrong checksum can be expressed.
fn with_checksum(request: &[u8]) -> Vec<u8> {
    let mut request = request.to_vec();
    let start = request.windows(4).position(|bytes| bytes == b"PACK");
    let end = request.len().saturating_sub(20);
    if let Some(start) =
        start.filter(|start| start + 12 <= end && request[end..].iter().any(|byte| *byte != 0))
    {
        let sum = wire::sha1(&[&request[start..end]]);
        request[end..].copy_from_slice(sum.as_slice());
    }
    request
}

fn push_recipe(recipe: &Recipe) -> Outcome {
    let outcome = push(&recipe.request());
    if let Outcome::Accepted(accepted) = &outcome {
        if let Some(defect) = recipe.defect() {
            panic!("accepted in spite of {defect}");
        }
        if let Some(expected) = recipe.ids() {
            let mut found: Vec<ObjectId> = accepted.objects.iter().map(|object| object.id).collect();
            found.sort_unstable();
            let new = expected.into_iter().filter(|id| base().get(id).is_none());
            assert_eq!(found, new.collect::<Vec<_>>(), "other objects than were sent");
        }
    }
    outcome
}

fn push(request: &[u8]) -> Outcome {
    let repository = base();
    match receive(repository, request, &limits()) {
        Err(why) => Outcome::Refused(why),
        Ok(push) => {
            let accepted = Accepted::new(push, repository);
            accepted.check(repository);
            let stored = accepted.stored_as_received(repository);
            if !accepted.refs.is_empty() {
                invariants::check_clone(&stored);
            }
            Outcome::Accepted(Box::new(accepted))
        }
    }
}

/// Receives a push; the error message if it is rejected.
fn receive(repository: &MemoryRepository, request: &[u8], limits: &Limits) -> Result<UnpackedPush, String> {
    match block_on(git_receiver::receive(repository, request, limits)) {
        Err(error) => Err(error.to_string()),
        Ok(Received::Probe) => Err("a probe".to_owned()),
        Ok(Received::Push(push)) => match push.unpacked {
            Err(UnpackError::Panicked) => panic!("unpacking panicked"),
            unpacked => unpacked.map_err(|error| error.to_string()),
        },
    }
}

/// Unpacks a pack that git-receiver sent to a client that has `repository`: the objects that are new to the client.
fn reparse(pack: &[u8], shallow: &[ObjectId], repository: &MemoryRepository) -> Vec<DecodedObject> {
    let head = base().order[7];
    let command = format!("{} {head} refs/heads/reparse\0", "0".repeat(40));
    let mut request: Vec<u8> =
        shallow.iter().flat_map(|id| wire::frame(format!("shallow {id}").as_bytes())).collect();
    request.extend(wire::frame(command.as_bytes()));
    request.extend_from_slice(b"0000");
    request.extend_from_slice(pack);
    let push =
        receive(repository, &request, &Limits::default()).expect("a pack that was sent can be received");
    Accepted::new(push, repository).objects
}

fn fetch(protocol: Protocol, request: &[u8]) -> Outcome {
    let repository = base();
    let mut response = Vec::new();
    let request = bytes::Bytes::copy_from_slice(request);
    match block_on(git_receiver::upload(repository, protocol, request, &mut response)) {
        Err(error) => {
            let why = error.to_string();
            assert!(!matches!(error, git_receiver::UploadError::Corrupt(_)), "{why}");
            Outcome::Refused(why)
        }
        Ok(()) => Outcome::Accepted(Box::new(invariants::check_response(&response))),
    }
}
