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
struct Row {
    commits: Vec<ObjectId>,
    objects: HashMap<ObjectId, Object>,
}

impl Row {
    fn new() -> Self {
        let mut row = Self { commits: Vec::new(), objects: HashMap::new() };
        let tree = row.add(Kind::Tree, b"");
        for number in 0..6 {
            let parent = row.commits.last().map(|id| format!("parent {id}\n")).unwrap_or_default();
            let who = format!("A <a@example.org> {number} +0000");
            let commit = format!("tree {tree}\n{parent}author {who}\ncommitter {who}\n\n{number}\n");
            let id = row.add(Kind::Commit, commit.as_bytes());
            row.commits.push(id);
        }
        row
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

impl Repository for Row {
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
    async fn say(&mut self, said: &[&str]) {
        self.0.write_all(&lines(said)).await.unwrap();
    }

    /// Reads exactly as many packets as expected.
    async fn hear(&mut self, expected: &[&str]) {
        let mut heard = Vec::new();
        for _ in expected {
            heard.push(match pkt_line::read(&mut self.0).await.unwrap() {
                Packet::Data(line) => String::from_utf8_lossy(pkt_line::text(&line)).into_owned(),
                Packet::Flush => "0000".to_owned(),
                Packet::Delim => "0001".to_owned(),
                Packet::ResponseEnd => "0002".to_owned(),
            });
        }
        assert_eq!(heard, expected);
    }

    /// Reads to the end, and returns the number of objects in the pack.
    async fn hear_pack(mut self) -> u32 {
        let mut heard = Vec::new();
        self.0.read_to_end(&mut heard).await.unwrap();
        count(&heard)
    }
}

/// The number of objects of the pack in `bytes`, with or without a sideband.
fn count(bytes: &[u8]) -> u32 {
    let start = bytes.windows(4).position(|some| some == b"PACK").expect("a pack");
    u32::from_be_bytes(bytes[start + 8..start + 12].try_into().unwrap())
}

/// Serves one connection to `client`.
async fn converse<T>(
    row: &Row,
    protocol: Protocol,
    client: impl AsyncFnOnce(Client) -> T,
) -> (Result<(), UploadError>, T) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let (mut input, mut output) = tokio::io::split(far);
    let serving = async {
        let served = upload_over_connection(row, protocol, &mut input, &mut output).await;
        output.shutdown().await.unwrap();
        served
    };
    tokio::join!(serving, client(Client(near)))
}

fn absent(digit: char) -> String {
    format!("have {}", String::from(digit).repeat(40))
}

#[tokio::test]
async fn the_original_protocol_negotiates_in_rounds() {
    let row = Row::new();
    let (tip, had) = (row.tip(), row.commits[3]);
    let (served, objects) = converse(&row, Protocol::V0, async |mut client: Client| {
        client.say(&[&format!("want {tip} multi_ack_detailed side-band-64k ofs-delta"), "0000"]).await;
        client.say(&[&absent('1'), &absent('2'), "0000"]).await;
        client.hear(&["NAK"]).await;
        client.say(&[&absent('3'), &format!("have {had}"), "0000"]).await;
        client.hear(&[&format!("ACK {had} common"), &format!("ACK {had} ready"), "NAK"]).await;
        client.say(&["done"]).await;
        client.hear(&[&format!("ACK {had}")]).await;
        client.hear_pack().await
    })
    .await;
    served.unwrap();
    assert_eq!(objects, 2, "the two commits that the client lacks; it has the tree");
}

#[tokio::test]
async fn clients_without_the_details_are_acknowledged_as_they_know_it() {
    let row = Row::new();
    let (tip, first, second) = (row.tip(), row.commits[1], row.commits[2]);
    let haves = [format!("have {first}"), format!("have {second}")];
    let (served, ()) = converse(&row, Protocol::V0, async |mut client: Client| {
        client.say(&[&format!("want {tip} multi_ack"), "0000", &haves[0], "0000"]).await;
        client.hear(&[&format!("ACK {first} continue"), "NAK"]).await;
        client.say(&[&haves[1], "done"]).await;
        client.hear(&[&format!("ACK {second} continue"), &format!("ACK {second}")]).await;
        assert_eq!(client.hear_pack().await, 3);
    })
    .await;
    served.unwrap();
    let (served, ()) = converse(&row, Protocol::V1, async |mut client: Client| {
        client.say(&[&format!("want {tip}"), "0000", &absent('1'), "0000"]).await;
        client.hear(&["NAK"]).await;
        client.say(&[&haves[0], "0000", &haves[1], "0000", "done"]).await;
        client.hear(&[&format!("ACK {first}")]).await;
        assert_eq!(client.hear_pack().await, 3);
    })
    .await;
    served.unwrap();
}

#[tokio::test]
async fn where_a_shallow_history_ends_is_told_once_before_the_haves() {
    let row = Row::new();
    let (tip, end) = (row.tip(), row.commits[4]);
    let (served, objects) = converse(&row, Protocol::V0, async |mut client: Client| {
        client.say(&[&format!("want {tip} multi_ack_detailed"), "deepen 2", "0000"]).await;
        client.hear(&[&format!("shallow {end}"), "0000"]).await;
        client.say(&["done"]).await;
        client.hear(&["NAK"]).await;
        client.hear_pack().await
    })
    .await;
    served.unwrap();
    assert_eq!(objects, 3, "two commits and the tree");
}

#[tokio::test]
async fn protocol_2_takes_commands_until_the_client_has_enough() {
    let row = Row::new();
    let (tip, had) = (row.tip(), row.commits[4]);
    for goodbye in [&["0000"][..], &[]] {
        let (served, ()) = converse(&row, Protocol::V2, async |mut client: Client| {
            client.say(&["command=ls-refs", "agent=test", "0001", "symrefs", "0000"]).await;
            let head = format!("{tip} HEAD symref-target:refs/heads/main");
            client.hear(&[&head, &format!("{tip} refs/heads/main"), "0000"]).await;
            let want = format!("want {tip}");
            client.say(&["command=fetch", "0001", &want, &absent('1'), "0000"]).await;
            client.hear(&["acknowledgments", "NAK", "0000"]).await;
            client.say(&["command=fetch", "0001", &want, &format!("have {had}"), "0000"]).await;
            client.hear(&["acknowledgments", &format!("ACK {had}"), "ready", "0001", "packfile"]).await;
            let Packet::Data(pack) = pkt_line::read(&mut client.0).await.unwrap() else { panic!("no pack") };
            assert_eq!(count(&pack), 1);
            while pkt_line::read(&mut client.0).await.unwrap() != Packet::Flush {}
            client.say(goodbye).await;
        })
        .await;
        served.unwrap();
    }
}

#[tokio::test]
async fn one_round_is_answered_alike_with_and_without_a_connection() {
    let row = Row::new();
    let want = format!("want {} multi_ack_detailed side-band-64k", row.tip());
    let have = format!("have {}", row.commits[2]);
    let want_2 = format!("want {}", row.tip());
    for (protocol, said) in [
        (Protocol::V0, vec![want.as_str(), "0000", &have, "done"]),
        (Protocol::V0, vec![&want, "0000", "done"]),
        (Protocol::V0, vec![&want, "deepen 1", "0000"]),
        (Protocol::V0, vec![&want, "0000", &have, "0000"]),
        (Protocol::V0, vec!["0000"]),
        (Protocol::V2, vec!["command=ls-refs", "0001", "peel", "0000"]),
        (Protocol::V2, vec!["command=fetch", "0001", &want_2, &have, "done", "0000"]),
    ] {
        let mut alone = Vec::new();
        upload(&row, protocol, lines(&said).into(), &mut alone).await.unwrap();
        let mut connected = Vec::new();
        upload_over_connection(&row, protocol, &mut lines(&said).as_slice(), &mut connected).await.unwrap();
        assert_eq!(alone, connected, "{said:?}");
    }
}

#[tokio::test]
async fn what_a_ref_has_moved_on_from_is_still_sent() {
    let mut row = Row::new();
    let dangling = row.add(Kind::Commit, b"a commit that nothing leads to");
    for (protocol, before, after) in [
        (Protocol::V0, vec![], vec!["0000", "done"]),
        (Protocol::V2, vec!["command=fetch", "0001"], vec!["done", "0000"]),
    ] {
        let fetch = async |id: ObjectId| {
            let want = format!("want {id}");
            let said = [&before[..], &[want.as_str()], &after[..]].concat();
            let mut heard = Vec::new();
            upload(&row, protocol, lines(&said).into(), &mut heard).await.map(|()| count(&heard))
        };
        assert_eq!(fetch(row.commits[2]).await.unwrap(), 4, "three commits and the tree");
        let tree =
            *row.objects.values().find(|object| object.kind == Kind::Tree).map(|tree| &tree.id).unwrap();
        for stranger in [dangling, tree] {
            assert!(matches!(fetch(stranger).await, Err(UploadError::Rejected(_))), "{stranger}");
        }
    }
}

#[tokio::test]
async fn refusals_end_the_conversation_with_their_reason() {
    let row = Row::new();
    let stranger = "1".repeat(40);
    for (protocol, said, why) in [
        (Protocol::V0, vec![format!("want {stranger} side-band"), "0000".to_owned()], "not our ref"),
        (
            Protocol::V0,
            vec![format!("want {} x", row.tip()), "0000".to_owned(), "hm".to_owned()],
            "unknown line",
        ),
        (Protocol::V2, vec!["command=dance".to_owned(), "0000".to_owned()], "unknown command"),
        (Protocol::V2, vec!["command=fetch".to_owned()], "in the middle"),
    ] {
        let said = lines(&said.iter().map(String::as_str).collect::<Vec<_>>());
        let mut heard = Vec::new();
        let served = upload_over_connection(&row, protocol, &mut said.as_slice(), &mut heard).await;
        assert!(matches!(served, Err(UploadError::Rejected(_))), "{why}");
        let heard = String::from_utf8_lossy(&heard);
        assert!(heard.contains("ERR ") && heard.contains(why), "{heard}");
    }
}
