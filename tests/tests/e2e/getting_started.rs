//! The instructions that the program prints and writes: each printed command works.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tests::repository::environment;
use tests::server::picloud;
use tests::{Database, Repository, Server, TOKEN, until};

/// A running `picloud` process, killed when dropped, and its output.
pub(crate) struct Running {
    process: Child,
    folder: tempfile::TempDir,
}

impl Running {
    /// Runs a shell command in a temporary folder, with the program as `$0`.
    fn start(script: &str, stdin: Stdio, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = fs::File::create(folder.path().join("said")).unwrap();
        let process = Command::new("sh")
            .args(["-c", script])
            .arg(picloud())
            .current_dir(folder.path())
            .env("PICLOUD_ADMIN_TOKEN", TOKEN)
            .env_remove("DATABASE_URL")
            .envs(environment.iter().copied())
            .stdin(stdin)
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self { process, folder }
    }

    /// All output, once it contains `expected`.
    pub(crate) fn says(&self, expected: &str) -> String {
        until(expected, || {
            let output = fs::read_to_string(self.folder.path().join("said")).ok()?;
            output.contains(expected).then_some(output)
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let output = fs::read_to_string(self.folder.path().join("said"));
            eprintln!("--- it said\n{}", output.unwrap_or_default());
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn serve(flags: &str) -> Running {
    Running::start(&format!("exec \"$0\" serve {flags}"), Stdio::null(), &[])
}

/// The text after `name` in a greeting.
pub(crate) fn line<'s>(output: &'s str, name: &str) -> &'s str {
    let mut lines = output.lines();
    let found = lines.find_map(|line| line.trim_start().strip_prefix(name));
    found.unwrap_or_else(|| panic!("{name}: {output}")).trim()
}

/// A repository whose git knows the token.
pub(crate) fn repository() -> Repository {
    let repository = Repository::hello();
    let helper = format!("!f() {{ printf 'username=any\\npassword={TOKEN}\\n'; }}; f");
    repository.git(&["config", "credential.helper", &helper]);
    repository
}

/// The output of a shell that runs `line` in `folder`, with this program in its PATH. git asks for the report of a push only
/// on a terminal, which this is not.
#[track_caller]
pub(crate) fn shell(folder: &Path, line: &str) -> String {
    let line = &line.replace("git push ", "git push --progress ");
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

/// Runs the first push that a node prints, and requests the printed URL of the app.
fn first_push_works(node: &Running, prepare: &str, curl: &str) {
    let output = node.says("any user name");
    let repository = repository();
    shell(repository.path(), prepare);
    let pushed = shell(repository.path(), line(&output, "first push"));
    let address = pushed.split_whitespace().find(|word| word.starts_with("http") && word.contains("hello"));
    let address = address.unwrap_or_else(|| panic!("no address: {pushed}"));
    let got = shell(repository.path(), &format!("curl -sS --fail {curl} {address}greet/Ann"));
    assert_eq!(got, r#"{"message":"Hello, Ann"}"#, "{address}");
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn printed_first_push_works_for_every_listen_address() {
    for listen in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
        first_push_works(&serve(&format!("--listen '{listen}'")), ":", "");
    }
}

#[test]
fn printed_first_push_uses_public_url() {
    let port = free_port();
    let flags = format!("--listen 127.0.0.1:{port} --public-url http://localhost:{port}/");
    let node = serve(&flags);
    assert!(
        line(&node.says("any user name"), "first push").contains(&format!("http://localhost:{port}/hello"))
    );
    first_push_works(&node, ":", "");
}

#[test]
fn printed_first_push_uses_domain() {
    let port = free_port();
    let flags = format!("--listen 127.0.0.1:{port} --domain pi.test --public-url http://pi.test:{port}");
    let resolve = format!("git config http.curloptResolve pi.test:{port}:127.0.0.1");
    let curl = format!("--connect-to ::127.0.0.1:{port}");
    first_push_works(&serve(&flags), &resolve, &curl);
}

/// `caddy::domain` tests it behind a proxy with TLS.
#[test]
fn printed_first_push_with_domain_names_requirements() {
    let port = free_port();
    let node = serve(&format!("--listen 127.0.0.1:{port} --domain pi.test"));
    let output = node.says("any user name");
    let push = "git remote add picloud https://pi.test/hello.git && git push picloud HEAD:main";
    assert_eq!(line(&output, "first push"), push);
    let way = format!(
        "requires a proxy with TLS for pi.test and *.pi.test; without one, set --public-url to http://pi.test:{port}"
    );
    assert!(output.contains(&way), "{output}");
}

#[test]
fn node_without_control_plane_prints_no_first_push() {
    let database = Database::postgres();
    let url = database.url().unwrap();
    let url = [("DATABASE_URL", url.as_str())];
    let node = Running::start("exec \"$0\" serve --role node --listen 127.0.0.1:0", Stdio::null(), &url);
    assert_eq!(
        line(&node.says("first push"), "first push"),
        "push to a manager node; this node only serves apps"
    );
}

#[test]
fn printed_first_push_works_with_socket_activation() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hand_over = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" serve 3<&0 </dev/null";
    let node = Running::start(hand_over, OwnedFd::from(socket).into(), &[]);
    first_push_works(&node, ":", "");
}

/// Requests to a node with a domain by IP address get the health checks and a hint.
#[test]
fn request_by_ip_address_to_node_with_domain_gets_a_hint() {
    let node = serve("--listen 127.0.0.1:0 --domain pi.test");
    let output = node.says("any user name");
    let url = line(&output, "PiCloud 0.1.0 is listening on").to_owned();
    let repository = repository();
    let pushed = repository.push(&format!("{url}/hello.git"), &["main"]).refused();
    pushed.says("remote: repositories are served at the server's domain; use https://pi.test/hello.git");
    let command = format!("PICLOUD_TOKEN={TOKEN} picloud apps --url {url} 2>&1 || true");
    assert_eq!(
        shell(repository.path(), &command),
        "error: the API is served at the server's domain; use https://pi.test\n"
    );
    let got = shell(repository.path(), &format!("curl -sS -H 'Host: other.example' {url}/-/api/v1/apps"));
    assert_eq!(got, r#"{"error":"no app at this address"}"#);
}

#[test]
fn public_url_outside_the_domain_is_rejected() {
    let refused = "picloud serve --domain pi.test --public-url https://cloud.test:8443 2>&1 || echo $?";
    assert_eq!(
        shell(Path::new("/tmp"), refused),
        "error: the host of --public-url https://cloud.test:8443 is not the --domain pi.test\n\
         hint: omit --public-url, or set it to https://pi.test\n2\n"
    );
}

/// The commands in the output: the lines with an indent of two spaces; a backslash at the end continues a line.
fn commands(output: &str) -> Vec<String> {
    let lines = output.lines().filter_map(|line| line.strip_prefix("  "));
    let mut commands: Vec<String> = Vec::new();
    for line in lines {
        match commands.last_mut().filter(|last| last.ends_with('\\')) {
            Some(last) => *last = format!("{}{}", last.trim_end_matches('\\'), line.trim_start()),
            None => commands.push(line.to_owned()),
        }
    }
    commands
}

/// Configures git to use this node in place of the default address, with the token.
fn use_default_server(address: &str) -> String {
    let helper = format!("!f() {{ printf \"username=any\\npassword={TOKEN}\\n\"; }}; f");
    format!(
        "export GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=credential.helper GIT_CONFIG_VALUE_0='{helper}' \
         GIT_CONFIG_KEY_1=url.http://{address}/.insteadOf GIT_CONFIG_VALUE_1=http://127.0.0.1:8080/\n"
    )
}

#[test]
fn starter_app_goes_live_by_printed_commands() {
    let server = Server::start(Database::sqlite());
    for name in ["shop", "My Shop"] {
        let folder = tempfile::tempdir().unwrap();
        let output = shell(folder.path(), &format!("picloud init '{name}'"));
        assert!(output.starts_with(&format!(
            "wrote picloud.toml, greet.rhai, tick.rhai, greet.test.rhai, README.md and .gitignore to {name}\n"
        )));
        let commands = commands(&output);
        assert_eq!((commands.len(), commands[1].as_str()), (5, "picloud dev"), "{output}");
        let typed: Vec<&str> =
            commands.iter().map(String::as_str).filter(|command| *command != "picloud dev").collect();
        let at = use_default_server(&server.address);
        let app = if name == "shop" { "shop" } else { "my-shop" };
        let pushed = shell(folder.path(), &(at + &typed.join("\n")));
        assert!(pushed.contains(&format!("{app}/")) && !pushed.contains("warning"), "{pushed}");
        assert_eq!(server.get(&format!("/{app}/greet/Ann")).body, r#"{"message":"Hello, Ann"}"#);
        let readme = fs::read_to_string(folder.path().join(name).join("README.md")).unwrap();
        assert!(readme.contains(&format!("http://127.0.0.1:8080/{app}/greet/Ann")), "{readme}");
        let committed = shell(&folder.path().join(name), "git ls-files && git symbolic-ref HEAD");
        assert_eq!(
            committed,
            ".gitignore\nREADME.md\ngreet.rhai\ngreet.test.rhai\npicloud.toml\ntick.rhai\nrefs/heads/main\n"
        );
    }
    let apps = shell(
        Path::new("/tmp"),
        &format!("PICLOUD_TOKEN={TOKEN} picloud apps --url http://{}", server.address),
    );
    assert!(apps.contains("shop ") && apps.contains("my-shop "), "the apps are separate: {apps}");
}

#[test]
fn init_overwrites_no_file() {
    let folder = tempfile::tempdir().unwrap();
    for there in ["picloud.toml", "greet.rhai", "tick.rhai"] {
        let app = folder.path().join(there.replace('.', "-"));
        fs::create_dir(&app).unwrap();
        fs::write(app.join(there), "mine").unwrap();
        let output = shell(&app, "picloud init 2>&1 || echo $?");
        let expected = format!(
            "error: ./{there} already exists; nothing was overwritten\nhint: choose another folder\n1\n"
        );
        assert_eq!(output, expected);
        assert_eq!(fs::read_dir(&app).unwrap().count(), 1);
    }
    // Files that every repository has are kept.
    let cloned = folder.path().join("cloned");
    fs::create_dir(&cloned).unwrap();
    fs::write(cloned.join("README.md"), "mine").unwrap();
    fs::write(cloned.join(".gitignore"), "mine").unwrap();
    let output = shell(&cloned, "git init -q && picloud init && picloud check");
    assert!(
        output.starts_with(
            "wrote picloud.toml, greet.rhai, tick.rhai and greet.test.rhai to .\nkept README.md and .gitignore\n"
        ),
        "{output}"
    );
    assert!(output.contains("success: 2 scripts"), "{output}");
    for kept in ["README.md", ".gitignore"] {
        assert_eq!(fs::read_to_string(cloned.join(kept)).unwrap(), "mine");
    }
}

#[test]
fn concurrent_init_of_one_folder_fails_once() {
    for _ in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let both = "picloud init app >/dev/null 2>&1 & one=$!; picloud init app >/dev/null 2>&1 & two=$!; \
                    wait $one && echo done || echo refused; wait $two && echo done || echo refused";
        let mut ends: Vec<_> = shell(folder.path(), both).lines().map(str::to_owned).collect();
        ends.sort();
        assert_eq!(ends, ["done", "refused"]);
        let output = shell(folder.path(), "picloud check app");
        assert!(output.contains("success: 2 scripts"), "{output}");
    }
}

#[test]
fn init_inside_repository_or_without_git_warns_and_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let output = shell(folder.path(), "git init -q && picloud init shop && picloud check shop");
    let top = folder.path().canonicalize().unwrap();
    let expected = format!(
        "warning: the folder is inside the git repository {}, but picloud.toml must be at the root",
        top.display()
    );
    assert!(output.contains(&expected) && output.contains("  git init -b main && git add ."), "{output}");
    assert!(!folder.path().join("shop/.git").exists());

    let folder = tempfile::tempdir().unwrap();
    let own = picloud().display().to_string();
    let output = shell(folder.path(), &format!("PATH=/nowhere '{own}' init shop && '{own}' check shop"));
    assert!(output.contains("no git repository: git is not installed; it is needed to push\n"), "{output}");
    assert!(
        output.contains("  git init -b main && git add .") && output.contains("success: 2 scripts"),
        "{output}"
    );
}

#[test]
fn commands_printed_by_demo_work() {
    let demo = Running::start("exec \"$0\" demo --listen 127.0.0.1:0", Stdio::null(), &[]);
    let output = demo.says("/functions/ring");
    let (_, output) = output.split_once("Try:\n").unwrap();
    let mut typed = commands(output);
    let at = typed.iter().position(|command| command.starts_with("cd ")).unwrap();
    typed.insert(at + 1, "sed -i 's/Good morning/Good evening/' greet.rhai".to_owned());
    typed.push(typed[0].clone());
    let done = shell(Path::new("/tmp"), &typed.join("\necho\n"));
    for expected in [
        r#"{"message":"Hello, Ann"}"#,
        "LIVE as deploy 4",
        "refs/deploys/3",
        "nothing was changed",
        r#"{"sound":"ring ring ring"}"#,
        r#"{"message":"Good evening, Ann"}"#,
    ] {
        assert!(done.contains(expected), "{expected}: {done}");
    }
}

#[test]
fn addresses_and_call_printed_by_dev_work() {
    for listen in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
        let script = format!("\"$0\" init hello >&2 && cd hello && exec \"$0\" dev --listen '{listen}'");
        let dev = Running::start(&script, Stdio::null(), &[]);
        let output = dev.says("serving in");
        let urls: Vec<&str> =
            line(&output, "hello ").split_whitespace().filter(|word| word.starts_with("http")).collect();
        assert_eq!(urls.len(), 3, "{output}");
        for url in urls {
            let got = shell(Path::new("/tmp"), &format!("curl -sS --fail {url}greet/Ann"));
            assert_eq!(got, r#"{"message":"Hello, Ann"}"#, "{url}");
        }
        let manifest = dev.folder.path().join("hello/picloud.toml");
        let more = fs::read_to_string(&manifest).unwrap()
            + "\n[[functions]]\nname = \"one\"\nscript = \"tick.rhai\"\n";
        fs::write(dev.folder.path().join("hello/tick.rhai"), "1").unwrap();
        fs::write(&manifest, more).unwrap();
        dev.says("reloaded in");
        let call = line(&output, "functions").replace("NAME", "one");
        assert_eq!(
            until("the function exists", || {
                let got = shell(Path::new("/tmp"), &format!("{call} 2>&1 || true"));
                (got == "1\n").then_some(got)
            }),
            "1\n"
        );
    }
}
