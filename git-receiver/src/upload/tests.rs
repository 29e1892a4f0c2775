//! Exchanges with upload-pack, line by line, over a repository of six commits in a line.

use std::collections::HashMap;

use gix_hash::ObjectId;
use gix_object::Kind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::{UploadError, upload, upload_over_connection};
use crate::pkt_line::{self, DELIM, FLUSH, Packet, write};
use crate::unpack::compress;
use crate::{Object, ObjectInfo, Protocol, Reference, Repository, RepositoryError};

/// An in-memory repository with a linear branch of commits with empty trees.
struct LinearRepo {
    commits: Vec<ObjectId>,
    objects: HashMap<ObjectId, Object>,
}

impl LinearRepo {
    fn new() -> Self {
        let mut repo = Self { commits: Vec::new(), objects: HashMap::new() };
        let tree = repo.add(Kind::Tree, b"");
        for number in 0..6 {
            let parent = repo.commits.last().map(|id| format!("parent {id}\n")).unwrap_or_default();
            let who = format!("A <a@example.org> {number} +0000");
            let commit = format!("tree {tree}\n{parent}author {who}\ncommitter {who}\n\n{number}\n");
            let id = repo.add(Kind::Commit, commit.as_bytes());
            repo.commits.push(id);
        }
        repo
    }

    fn add(&mut self, kind: Kind, content: &[u8]) -> ObjectId {
        let id = gix_object::compute_hash(gix_hash::Kind::Sha1, kind, content).unwrap();
        let (size, zlib) = (content.len() as u64, compress(content));
        self.objects.insert(id, Object { id, kind, base: None, depth: 0, size, zlib });
        id
    }

    fn tip(&self) -> ObjectId {
        self.commits[5]
    }
}

impl Repository for LinearRepo {
    fn head(&self) -> Option<&str> {
        Some("refs/heads/main")
    }

    async fn refs(&self) -> Result<Vec<Reference>, RepositoryError> {
        Ok(vec![Reference { name: "refs/heads/main".to_owned(), target: self.tip() }])
    }

    async fn shallow(&self) -> Result<Vec<ObjectId>, RepositoryError> {
        Ok(Vec::new())
    }

    async fn object_info(&self, ids: &[ObjectId]) -> Result<HashMap<ObjectId, ObjectInfo>, RepositoryError> {
        let known = |object: &Object| ObjectInfo { kind: object.kind, depth: object.depth };
        Ok(ids.iter().filter_map(|id| Some((*id, known(self.objects.get(id)?)))).collect())
    }

    async fn objects(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        Ok(ids.iter().filter_map(|id| self.objects.get(id)).cloned().collect())
    }

    async fn objects_and_bases(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        self.objects(ids).await
    }
}

/// Encodes lines; `0000` and `0001` stand for flush and delimiter packets.
fn lines(lines: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines {
        match *line {
            "0000" => out.extend_from_slice(FLUSH),
            "0001" => out.extend_from_slice(DELIM),
            line => write(&mut out, format!("{line}\n").as_bytes()),
        }
    }
    out
}

struct Client(DuplexStream);

impl Client {
    async fn send(&mut self, lines_sent: &[&str]) {
        self.0.write_all(&lines(lines_sent)).await.unwrap();
    }

    /// Reads exactly as many packets as expected.
    async fn expect(&mut self, expected: &[&str]) {
        let mut received = Vec::new();
        for _ in expected {
            received.push(match pkt_line::read(&mut self.0).await.unwrap() {
                Packet::Data(line) => String::from_utf8_lossy(pkt_line::text(&line)).into_owned(),
                Packet::Flush => "0000".to_owned(),
                Packet::Delim => "0001".to_owned(),
                Packet::ResponseEnd => "0002".to_owned(),
            });
        }
        assert_eq!(received, expected);
    }

    /// Reads to the end, and returns the number of objects in the pack.
    async fn expect_pack(mut self) -> u32 {
        let mut received = Vec::new();
        self.0.read_to_end(&mut received).await.unwrap();
        count(&received)
    }
}

/// The number of objects of the pack in `bytes`, with or without a sideband.
fn count(bytes: &[u8]) -> u32 {
    let start = bytes.windows(4).position(|some| some == b"PACK").expect("a pack");
    u32::from_be_bytes(bytes[start + 8..start + 12].try_into().unwrap())
}

/// Serves one connection to `client`.
async fn exchange<T>(
    repo: &LinearRepo,
    protocol: Protocol,
    client: impl AsyncFnOnce(Client) -> T,
) -> (Result<(), UploadError>, T) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let (mut input, mut output) = tokio::io::split(far);
    let serving = async {
        let served = upload_over_connection(repo, protocol, &mut input, &mut output).await;
        output.shutdown().await.unwrap();
        served
    };
    tokio::join!(serving, client(Client(near)))
}

fn absent(digit: char) -> String {
    format!("have {}", String::from(digit).repeat(40))
}

#[tokio::test]
async fn protocol_v0_negotiates_in_rounds() {
    let repo = LinearRepo::new();
    let (tip, had) = (repo.tip(), repo.commits[3]);
    let (served, objects) = exchange(&repo, Protocol::V0, async |mut client: Client| {
        client.send(&[&format!("want {tip} multi_ack_detailed side-band-64k ofs-delta"), "0000"]).await;
        client.send(&[&absent('1'), &absent('2'), "0000"]).await;
        client.expect(&["NAK"]).await;
        client.send(&[&absent('3'), &format!("have {had}"), "0000"]).await;
        client.expect(&[&format!("ACK {had} common"), &format!("ACK {had} ready"), "NAK"]).await;
        client.send(&["done"]).await;
        client.expect(&[&format!("ACK {had}")]).await;
        client.expect_pack().await
    })
    .await;
    served.unwrap();
    assert_eq!(objects, 2, "the two commits that the client lacks; it has the tree");
}

#[tokio::test]
async fn acknowledgments_follow_the_clients_multi_ack_mode() {
    let repo = LinearRepo::new();
    let (tip, first, second) = (repo.tip(), repo.commits[1], repo.commits[2]);
    let haves = [format!("have {first}"), format!("have {second}")];
    let (served, ()) = exchange(&repo, Protocol::V0, async |mut client: Client| {
        client.send(&[&format!("want {tip} multi_ack"), "0000", &haves[0], "0000"]).await;
        client.expect(&[&format!("ACK {first} continue"), "NAK"]).await;
        client.send(&[&haves[1], "done"]).await;
        client.expect(&[&format!("ACK {second} continue"), &format!("ACK {second}")]).await;
        assert_eq!(client.expect_pack().await, 3);
    })
    .await;
    served.unwrap();
    let (served, ()) = exchange(&repo, Protocol::V1, async |mut client: Client| {
        client.send(&[&format!("want {tip}"), "0000", &absent('1'), "0000"]).await;
        client.expect(&["NAK"]).await;
        client.send(&[&haves[0], "0000", &haves[1], "0000", "done"]).await;
        client.expect(&[&format!("ACK {first}")]).await;
        assert_eq!(client.expect_pack().await, 3);
    })
    .await;
    served.unwrap();
}

#[tokio::test]
async fn shallow_boundary_is_sent_once_before_the_haves() {
    let repo = LinearRepo::new();
    let (tip, end) = (repo.tip(), repo.commits[4]);
    let (served, objects) = exchange(&repo, Protocol::V0, async |mut client: Client| {
        client.send(&[&format!("want {tip} multi_ack_detailed"), "deepen 2", "0000"]).await;
        client.expect(&[&format!("shallow {end}"), "0000"]).await;
        client.send(&["done"]).await;
        client.expect(&["NAK"]).await;
        client.expect_pack().await
    })
    .await;
    served.unwrap();
    assert_eq!(objects, 3, "two commits and the tree");
}

#[tokio::test]
async fn protocol_v2_handles_commands_until_the_client_is_done() {
    let repo = LinearRepo::new();
    let (tip, had) = (repo.tip(), repo.commits[4]);
    for goodbye in [&["0000"][..], &[]] {
        let (served, ()) = exchange(&repo, Protocol::V2, async |mut client: Client| {
            client.send(&["command=ls-refs", "agent=test", "0001", "symrefs", "0000"]).await;
            let head = format!("{tip} HEAD symref-target:refs/heads/main");
            client.expect(&[&head, &format!("{tip} refs/heads/main"), "0000"]).await;
            let want = format!("want {tip}");
            client.send(&["command=fetch", "0001", &want, &absent('1'), "0000"]).await;
            client.expect(&["acknowledgments", "NAK", "0000"]).await;
            client.send(&["command=fetch", "0001", &want, &format!("have {had}"), "0000"]).await;
            client.expect(&["acknowledgments", &format!("ACK {had}"), "ready", "0001", "packfile"]).await;
            let Packet::Data(pack) = pkt_line::read(&mut client.0).await.unwrap() else { panic!("no pack") };
            assert_eq!(count(&pack), 1);
            while pkt_line::read(&mut client.0).await.unwrap() != Packet::Flush {}
            client.send(goodbye).await;
        })
        .await;
        served.unwrap();
    }
}

#[tokio::test]
async fn single_round_has_same_response_in_both_modes() {
    let repo = LinearRepo::new();
    let want = format!("want {} multi_ack_detailed side-band-64k", repo.tip());
    let have = format!("have {}", repo.commits[2]);
    let want_2 = format!("want {}", repo.tip());
    for (protocol, lines_sent) in [
        (Protocol::V0, vec![want.as_str(), "0000", &have, "done"]),
        (Protocol::V0, vec![&want, "0000", "done"]),
        (Protocol::V0, vec![&want, "deepen 1", "0000"]),
        (Protocol::V0, vec![&want, "0000", &have, "0000"]),
        (Protocol::V0, vec!["0000"]),
        (Protocol::V2, vec!["command=ls-refs", "0001", "peel", "0000"]),
        (Protocol::V2, vec!["command=fetch", "0001", &want_2, &have, "done", "0000"]),
    ] {
        let mut stateless = Vec::new();
        upload(&repo, protocol, lines(&lines_sent).into(), &mut stateless).await.unwrap();
        let mut stateful = Vec::new();
        upload_over_connection(&repo, protocol, &mut lines(&lines_sent).as_slice(), &mut stateful)
            .await
            .unwrap();
        assert_eq!(stateless, stateful, "{lines_sent:?}");
    }
}

#[tokio::test]
async fn ancestor_of_ref_can_be_wanted() {
    let mut repo = LinearRepo::new();
    let dangling = repo.add(Kind::Commit, b"a commit that nothing leads to");
    for (protocol, before, after) in [
        (Protocol::V0, vec![], vec!["0000", "done"]),
        (Protocol::V2, vec!["command=fetch", "0001"], vec!["done", "0000"]),
    ] {
        let fetch = async |id: ObjectId| {
            let want = format!("want {id}");
            let lines_sent = [&before[..], &[want.as_str()], &after[..]].concat();
            let mut received = Vec::new();
            upload(&repo, protocol, lines(&lines_sent).into(), &mut received).await.map(|()| count(&received))
        };
        assert_eq!(fetch(repo.commits[2]).await.unwrap(), 4, "three commits and the tree");
        let tree =
            *repo.objects.values().find(|object| object.kind == Kind::Tree).map(|tree| &tree.id).unwrap();
        for unavailable in [dangling, tree] {
            assert!(matches!(fetch(unavailable).await, Err(UploadError::Rejected(_))), "{unavailable}");
        }
    }
}

#[tokio::test]
async fn rejection_ends_the_connection_with_its_reason() {
    let repo = LinearRepo::new();
    let unavailable = "1".repeat(40);
    for (protocol, lines_sent, reason) in [
        (Protocol::V0, vec![format!("want {unavailable} side-band"), "0000".to_owned()], "not our ref"),
        (
            Protocol::V0,
            vec![format!("want {} x", repo.tip()), "0000".to_owned(), "hm".to_owned()],
            "unknown line",
        ),
        (Protocol::V2, vec!["command=dance".to_owned(), "0000".to_owned()], "unknown command"),
        (Protocol::V2, vec!["command=fetch".to_owned()], "in the middle"),
    ] {
        let lines_sent = lines(&lines_sent.iter().map(String::as_str).collect::<Vec<_>>());
        let mut received = Vec::new();
        let served = upload_over_connection(&repo, protocol, &mut lines_sent.as_slice(), &mut received).await;
        assert!(matches!(served, Err(UploadError::Rejected(_))), "{reason}");
        let received = String::from_utf8_lossy(&received);
        assert!(received.contains("ERR ") && received.contains(reason), "{received}");
    }
}
