//! What the program itself tells people to type: each line that it prints does what it says.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tests::repository::environment;
use tests::server::picloud;
use tests::{Database, Repository, TOKEN, until};

/// A run of the program that serves until it is dropped, and what it prints.
pub(crate) struct Running {
    process: Child,
    folder: tempfile::TempDir,
}

impl Running {
    /// Runs a shell's command in a folder of its own, with the program as `$0`.
    fn start(script: &str, stdin: Stdio, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let said = fs::File::create(folder.path().join("said")).unwrap();
        let process = Command::new("sh")
            .args(["-c", script])
            .arg(picloud())
            .current_dir(folder.path())
            .env("PICLOUD_ADMIN_TOKEN", TOKEN)
            .env_remove("DATABASE_URL")
            .envs(environment.iter().copied())
            .stdin(stdin)
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap();
        Self { process, folder }
    }

    /// All that it has printed, once that has `words` in it.
    pub(crate) fn says(&self, words: &str) -> String {
        until(words, || {
            let said = fs::read_to_string(self.folder.path().join("said")).ok()?;
            said.contains(words).then_some(said)
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = fs::read_to_string(self.folder.path().join("said"));
            eprintln!("--- it said\n{}", said.unwrap_or_default());
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn serve(flags: &str) -> Running {
    Running::start(&format!("exec \"$0\" serve {flags}"), Stdio::null(), &[])
}

/// What stands behind `name` in a greeting.
pub(crate) fn line<'s>(said: &'s str, name: &str) -> &'s str {
    let mut lines = said.lines();
    let found = lines.find_map(|line| line.trim_start().strip_prefix(name));
    found.unwrap_or_else(|| panic!("{name}: {said}")).trim()
}

/// A repository, with a git that knows the token.
pub(crate) fn repository() -> Repository {
    let repository = Repository::hello();
    let helper = format!("!f() {{ printf 'username=any\\npassword={TOKEN}\\n'; }}; f");
    repository.git(&["config", "credential.helper", &helper]);
    repository
}

/// What a shell prints that runs `line` in `folder`, with this program in its path.
#[track_caller]
pub(crate) fn shell(folder: &Path, line: &str) -> String {
    let mut command = Command::new("sh");
    environment(&mut command, folder);
    let own = picloud().parent().unwrap().display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    let output = command
        .args(["-ec", line])
        .env("PATH", format!("{own}:{path}"))
        .env("USER", "Ann")
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{line}: {text}");
    text
}

/// Runs the first push that a node prints, and asks the app at the address that the push prints.
fn first_push_works(node: &Running, prepare: &str, curl: &str) {
    let said = node.says("any user name");
    let repository = repository();
    shell(repository.path(), prepare);
    let pushed = shell(repository.path(), line(&said, "first push"));
    let address = pushed.split_whitespace().find(|word| word.starts_with("http") && word.contains("hello"));
    let address = address.unwrap_or_else(|| panic!("no address: {pushed}"));
    let got = shell(repository.path(), &format!("curl -sS --fail {curl} {address}greet/Ann"));
    assert_eq!(got, r#"{"message":"Hello, Ann"}"#, "{address}");
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn first_push_that_a_node_prints_works_whatever_it_listens_to() {
    for listen in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
        first_push_works(&serve(&format!("--listen '{listen}'")), ":", "");
    }
}

#[test]
fn first_push_that_a_node_prints_is_at_its_public_url() {
    let port = free_port();
    let flags = format!("--listen 127.0.0.1:{port} --public-url http://localhost:{port}/");
    let node = serve(&flags);
    assert!(
        line(&node.says("any user name"), "first push").contains(&format!("http://localhost:{port}/hello"))
    );
    first_push_works(&node, ":", "");
}

#[test]
fn first_push_that_a_node_prints_is_at_its_domain() {
    let port = free_port();
    let flags = format!("--listen 127.0.0.1:{port} --domain pi.test --public-url http://pi.test:{port}");
    let resolve = format!("git config http.curloptResolve pi.test:{port}:127.0.0.1");
    let curl = format!("--connect-to ::127.0.0.1:{port}");
    first_push_works(&serve(&flags), &resolve, &curl);
}

/// Behind a proxy with TLS it is tried in `caddy::domain`.
#[test]
fn first_push_at_a_domain_says_what_it_takes() {
    let port = free_port();
    let node = serve(&format!("--listen 127.0.0.1:{port} --domain pi.test"));
    let said = node.says("any user name");
    let push = "git remote add picloud https://pi.test/hello.git && git push picloud HEAD:main";
    assert_eq!(line(&said, "first push"), push);
    let way = format!(
        "through a proxy with TLS for pi.test and *.pi.test; without one, set --public-url to http://pi.test:{port}"
    );
    assert!(said.contains(&way), "{said}");
}

#[test]
fn node_that_takes_no_pushes_does_not_tell_people_to_push_to_it() {
    let database = Database::postgres();
    let url = database.url().unwrap();
    let url = [("DATABASE_URL", url.as_str())];
    let node = Running::start("exec \"$0\" serve --role node --listen 127.0.0.1:0", Stdio::null(), &url);
    assert_eq!(
        line(&node.says("first push"), "first push"),
        "to a manager; this node only answers requests to apps"
    );
}

#[test]
fn first_push_to_a_socket_that_was_handed_over_works() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hand_over = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" serve 3<&0 </dev/null";
    let node = Running::start(hand_over, OwnedFd::from(socket).into(), &[]);
    first_push_works(&node, ":", "");
}

/// By its address a node with a domain answers nothing but its health, and shows the way.
#[test]
fn client_that_asks_a_node_with_a_domain_by_its_address_is_shown_the_way() {
    let node = serve("--listen 127.0.0.1:0 --domain pi.test");
    let said = node.says("any user name");
    let url = line(&said, "PiCloud 0.1.0 is listening on").to_owned();
    let repository = repository();
    let pushed = repository.push(&format!("{url}/hello.git"), &["main"]).refused();
    pushed.says("remote: this server's repositories are at its domain; use https://pi.test/hello.git");
    let asked = format!("PICLOUD_TOKEN={TOKEN} picloud apps --url {url} 2>&1 || true");
    assert_eq!(
        shell(repository.path(), &asked),
        "error: this server answers at its domain; ask https://pi.test\n"
    );
    let got = shell(repository.path(), &format!("curl -sS -H 'Host: other.example' {url}/-/api/v1/apps"));
    assert_eq!(got, r#"{"error":"nothing is served at this address"}"#);
}

#[test]
fn public_url_that_is_not_at_the_domain_is_refused() {
    let refused = "picloud serve --domain pi.test --public-url https://cloud.test:8443 2>&1 || echo $?";
    assert_eq!(
        shell(Path::new("/tmp"), refused),
        "error: --public-url is https://cloud.test:8443, and with --domain the server answers at pi.test only\n\
         hint: leave --public-url out, or set it to https://pi.test\n2\n"
    );
}
