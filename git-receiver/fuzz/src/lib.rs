//! What git-receiver promises about any input, held against mutated ones, through its public functions alone.
//!
//! - [`wire`]: frames, packs and deltas, written properly, and a second reading of them
//! - [`recipe`]: a push written down as text, so that a mutated text is still a proper push of mutated things
//! - [`repository`]: a repository in memory, and [`mod@base`] the one that everything is sent to and asked of
//! - [`promises`]: what must hold of what is accepted, whatever it is
//!
//! Two programs use it: libFuzzer's, in `targets/`, for as long as one likes, and the crate's tests, which replay the
//! corpora with a fixed number of mutations and ask the real git about what was accepted.

pub mod base;
pub mod promises;
pub mod recipe;
pub mod repository;
pub mod wire;

use std::cell::OnceCell;

use git_receiver::{Limits, ObjectId, Protocol, Received, UnpackError, UnpackedPush};

use base::base;
use promises::Accepted;
use recipe::Recipe;
use repository::{Memory, Whole};

/// What is fuzzed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The body of a request to receive-pack, byte by byte; only the pack's checksum is put right.
    Request,
    /// A push written down as a [`Recipe`].
    Pack,
    /// One object, as a recipe's section.
    Object,
    /// A request to upload-pack, in both protocols.
    Upload,
}

/// What became of an input.
#[derive(Debug)]
pub enum Outcome {
    /// It was refused, in these words.
    Refused(String),
    /// A push, or an answered fetch, with what was accepted.
    Accepted(Box<Accepted>),
}

/// Small enough that a mutation can reach every one of them.
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
    /// The name of its program and of the folder of its corpus.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Pack => "pack",
            Self::Object => "object",
            Self::Upload => "upload",
        }
    }

    /// Hands `input` to git-receiver and holds what comes back to what it promises.
    ///
    /// # Panics
    /// A promise is broken.
    pub fn run(self, input: &[u8]) -> Outcome {
        match self {
            Self::Request => push(&with_checksum(input)),
            Self::Pack => push_recipe(&Recipe::read(input, base())),
            Self::Object => push_recipe(&Recipe::of_one_section(input, base())),
            Self::Upload => {
                let answers = [Protocol::V0, Protocol::V2].map(|protocol| fetch(protocol, input));
                let refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(_));
                answers.into_iter().reduce(|a, b| if refused(&a) { b } else { a }).expect("two answers")
            }
        }
    }
}

/// Puts the checksum of the pack right that ends `request`, if it has one. Twenty zeros stay as they are, so that a wrong
/// checksum can be written down too.
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
        if let Some(lie) = recipe.lie() {
            panic!("accepted in spite of {lie}");
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
            accepted.hold(repository);
            let stored = accepted.stored_in(repository);
            if !accepted.refs.is_empty() {
                promises::hold_fetched(&stored);
            }
            Outcome::Accepted(Box::new(accepted))
        }
    }
}

/// Receives a push as a server does; why not, where it is refused.
fn receive(repository: &Memory, request: &[u8], limits: &Limits) -> Result<UnpackedPush, String> {
    match block_on(git_receiver::receive(repository, request, limits)) {
        Err(error) => Err(error.to_string()),
        Ok(Received::Probe) => Err("a probe".to_owned()),
        Ok(Received::Push(push)) => match push.unpacked {
            Err(UnpackError::Panicked) => panic!("unpacking panicked"),
            unpacked => unpacked.map_err(|error| error.to_string()),
        },
    }
}

/// The objects of a pack that git-receiver wrote for a client that has `repository`, as it reads them itself: those that the
/// client has not.
fn reread(pack: &[u8], shallow: &[ObjectId], repository: &Memory) -> Vec<Whole> {
    let head = base().order[7];
    let command = format!("{} {head} refs/heads/reread\0", "0".repeat(40));
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
    let mut answer = Vec::new();
    let request = bytes::Bytes::copy_from_slice(request);
    match block_on(git_receiver::upload(repository, protocol, request, &mut answer)) {
        Err(error) => {
            let why = error.to_string();
            assert!(!matches!(error, git_receiver::UploadError::Corrupt(_)), "{why}");
            Outcome::Refused(why)
        }
        Ok(()) => Outcome::Accepted(Box::new(promises::hold_answer(&answer))),
    }
}
