//! Receives a push of one branch from a pack file into an empty repository; `make bench` compares it with `git index-pack`.
//!
//!     ingest PACK COMMIT

use std::collections::HashMap;
use std::error::Error;

use git_receiver::{
    Limits, Object, ObjectId, ObjectInfo, Received, Reference, Repository, RepositoryError, receive,
};
use tokio::io::AsyncReadExt as _;

/// An empty repository.
struct Empty;

impl Repository for Empty {
    fn head(&self) -> Option<&str> {
        None
    }

    async fn refs(&self) -> Result<Vec<Reference>, RepositoryError> {
        Ok(Vec::new())
    }

    async fn shallow(&self) -> Result<Vec<ObjectId>, RepositoryError> {
        Ok(Vec::new())
    }

    async fn object_info(&self, _: &[ObjectId]) -> Result<HashMap<ObjectId, ObjectInfo>, RepositoryError> {
        Ok(HashMap::new())
    }

    async fn objects(&self, _: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        Ok(Vec::new())
    }

    async fn objects_and_bases(&self, _: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        Ok(Vec::new())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [pack, commit] = arguments.as_slice() else { return Err("usage: ingest PACK COMMIT".into()) };
    let command = format!("{:040} {commit} refs/heads/main\0report-status", 0);
    let request = format!("{:04x}{command}0000", command.len() + 4);
    let body = std::io::Cursor::new(request).chain(tokio::fs::File::open(pack).await?);
    let without_limits = Limits {
        request_bytes: u64::MAX / 4,
        objects: usize::MAX,
        object_bytes: u64::MAX,
        inflated_bytes: u64::MAX,
        delta_depth: 4096,
        ..Limits::default()
    };
    let Received::Push(push) = receive(&Empty, body, &without_limits).await? else {
        return Err("the request is a probe".into());
    };
    println!("{} objects", push.unpacked?.pack.len());
    Ok(())
}
