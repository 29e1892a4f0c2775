//! `picloud dev`: serves saved files, and reports errors in the terminal.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tests::server::picloud;
use tests::until;

const MANIFEST: &str = "sdk = \"1.1\"\n[[routes]]\npath = \"/greet/{name}\"\nscript = \"greet.rhai\"\n";
const SCRIPT: &str = "\"Hello, \" + ctx.request.params.name";

/// The folder of an app, and the running `picloud dev`.
struct Dev {
    process: Child,
    address: String,
    folder: TempDir,
}

impl Dev {
    fn start(files: &[(&str, &str)], flags: &[&str]) -> Self {
        Self::start_in(files, flags, None)
    }

    fn start_in(files: &[(&str, &str)], flags: &[&str], variable: Option<(&str, &str)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let app = folder.path().join("hello");
        fs::create_dir(&app).unwrap();
        files.iter().for_each(|(name, text)| write(&app.join(name), text));
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new(picloud())
            .args(["dev", "--listen", "127.0.0.1:0"])
            .args(flags)
            .current_dir(&app)
            .env_remove("API_KEY")
            .envs(variable)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut dev = Self { process, address: String::new(), folder };
        let address = || Some(dev.log().split_once("  http://")?.1.split_once('/')?.0.to_owned());
        dev.address = until("the node listens", address);
        dev
    }

    /// An app that requires the secret `API_KEY`, with this value in its environment.
    fn with_secret(value: Option<&str>) -> Self {
        let manifest = MANIFEST.replace("1.1", "1.2") + "[secrets]\nrequired = [\"API_KEY\"]\n";
        let script = "log::info(`key ${ctx.secrets.API_KEY}`);\nctx.secrets.API_KEY.len()";
        let files = [("picloud.toml", manifest.as_str()), ("greet.rhai", script)];
        Self::start_in(&files, &[], value.map(|value| ("API_KEY", value)))
    }

    fn hello() -> Self {
        let dev = Self::start(&[("picloud.toml", MANIFEST), ("greet.rhai", SCRIPT)], &[]);
        dev.says("serving in ");
        dev
    }

    fn app(&self) -> std::path::PathBuf {
        self.folder.path().join("hello")
    }

    /// The terminal output.
    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Waits until the terminal shows this text.
    #[track_caller]
    fn says(&self, expected: &str) {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while !self.log().contains(expected) {
            assert!(std::time::Instant::now() < deadline, "{expected:?} is not in:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn request(&self, method: &str, path: &str, token: Option<&str>) -> (u16, String) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let url = format!("http://{}{path}", self.address);
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut response = agent.run(request.body("{\"times\": 2}").unwrap()).unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    fn get(&self, path: &str) -> String {
        self.request("GET", path, None).1
    }

    /// Waits until a URL returns this body.
    fn serves(&self, path: &str, body: &str) {
        until(&format!("{path} answers {body}"), || (self.get(path) == body).then_some(()));
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- terminal\n{}", self.log());
        }
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn saved_file_is_served_at_once_and_change_is_printed() {
    let dev = Dev::hello();
    dev.says("+ *  /greet/{name}  greet.rhai");
    for path in ["/greet/Ann", "/hello/greet/Ann"] {
        assert_eq!(dev.get(path), "\"Hello, Ann\"", "{path}");
    }
    assert_eq!(dev.request("GET", "/-/health/ready", None), (200, "ok\n".to_owned()));
    assert_eq!(dev.request("GET", "/-/api/v1/apps", None).0, 404);
    write(&dev.app().join("greet.rhai"), "\"Good morning\"");
    dev.serves("/greet/Ann", "\"Good morning\"");
    dev.says("reloaded in ");
    dev.says("~ *  /greet/{name}  greet.rhai");
    write(&dev.app().join("sub/other.rhai"), "1 + 1");
    let manifest = format!("{MANIFEST}[[routes]]\npath = \"/other\"\nscript = \"sub/other.rhai\"\n");
    write(&dev.app().join("picloud.toml"), &manifest);
    dev.serves("/other", "2");
    write(&dev.app().join("sub/other.rhai"), "1 + 2");
    dev.serves("/other", "3");
}

#[test]
fn broken_save_is_reported_and_last_good_revision_stays_live() {
    let dev = Dev::hello();
    write(&dev.app().join("greet.rhai"), "let x = 1;\nlgo::info(\"hi\");\n");
    dev.says("error: 1 problem in 1 file; still serving the last valid version");
    let checked = Command::new(picloud()).arg("check").current_dir(dev.app()).output().unwrap();
    let checked = String::from_utf8(checked.stdout).unwrap();
    let (faults, _) = checked.rsplit_once("error: 1 problem").unwrap();
    assert!(faults.contains("greet.rhai:2:1") && dev.log().contains(faults), "{checked}\n---\n{}", dev.log());
    assert_eq!(dev.get("/greet/Ann"), "\"Hello, Ann\"");
    write(&dev.app().join("greet.rhai"), "\"well again\"");
    dev.serves("/greet/Ann", "\"well again\"");
    assert!(!dev.log().contains('\u{1b}'), "no colors in a file");
}

#[test]
fn initially_broken_app_is_served_once_fixed() {
    let dev = Dev::start(&[("picloud.toml", "sdk = \"1.1\"\nnonsense = 1\n")], &[]);
    dev.says("unknown key `nonsense`");
    dev.says("nothing is served");
    assert_eq!(dev.request("GET", "/greet/Ann", None).0, 404);
    write(&dev.app().join("greet.rhai"), SCRIPT);
    write(&dev.app().join("picloud.toml"), MANIFEST);
    dev.serves("/greet/Ann", "\"Hello, Ann\"");
}

#[test]
fn requests_logs_and_failures_are_printed_with_source_location() {
    let dev = Dev::hello();
    let script = "log::info(\"came\", #{name: ctx.request.params.name});\n\
                  if ctx.request.params.name == \"Eve\" {\n    throw \"not her\";\n}\n1";
    write(&dev.app().join("greet.rhai"), script);
    dev.serves("/greet/Ann", "1");
    dev.says(" 200 GET /greet/Ann  ");
    dev.says(" info greet.rhai:1:6  came  {\"name\":\"Ann\"}\n");
    assert_eq!(dev.request("GET", "/greet/Eve", None).0, 500);
    dev.says("error: greet.rhai:3:5  not her (script_error)\n");
    dev.says("3 |     throw \"not her\";\n  |     ^^^^^\n");
    dev.says(" 500 GET /greet/Eve  ");
}

#[test]
fn atomic_renames_and_save_bursts_are_debounced() {
    let dev = Dev::hello();
    let (script, draft) = (dev.app().join("greet.rhai"), dev.app().join(".greet.rhai.new"));
    for number in 0..50 {
        // vim does the same: the file is missing for a moment.
        fs::rename(&script, dev.app().join("greet.rhai~")).unwrap();
        write(&draft, "");
        write(&draft, &number.to_string());
        fs::rename(&draft, &script).unwrap();
    }
    dev.serves("/greet/Ann", "49");
    let reloads = dev.log().matches("reloaded in").count();
    assert!(reloads < 20 && !dev.log().contains("error"), "{reloads}\n{}", dev.log());
}

#[test]
fn build_and_dependency_folders_are_not_watched() {
    let dev = Dev::hello();
    for folder in [".git", "target", "node_modules"] {
        write(&dev.app().join(folder).join("x.rhai"), "nope(");
    }
    let manifest = MANIFEST.replace("greet.rhai", "target/x.rhai");
    write(&dev.app().join("picloud.toml"), &manifest);
    dev.says("script `target/x.rhai`");
    dev.says("still serving the last valid version");
}

#[test]
fn recreated_folder_is_served_again() {
    let dev = Dev::hello();
    fs::remove_dir_all(dev.app()).unwrap();
    dev.says("; still serving the last valid version");
    assert_eq!(dev.get("/greet/Ann"), "\"Hello, Ann\"");
    write(&dev.app().join("greet.rhai"), "\"back\"");
    write(&dev.app().join("picloud.toml"), MANIFEST);
    dev.serves("/greet/Ann", "\"back\"");
    write(&dev.app().join("greet.rhai"), "\"and watched\"");
    dev.serves("/greet/Ann", "\"and watched\"");
}

#[test]
fn folder_with_too_many_files_recovers_when_they_are_removed() {
    let dev = Dev::hello();
    let many = dev.app().join("many");
    fs::create_dir(&many).unwrap();
    (0..20_001).for_each(|number| drop(fs::File::create(many.join(number.to_string())).unwrap()));
    dev.says("contains more than 20000 files");
    assert_eq!(dev.get("/greet/Ann"), "\"Hello, Ann\"");
    fs::remove_dir_all(&many).unwrap();
    write(&dev.app().join("greet.rhai"), "\"fewer\"");
    dev.serves("/greet/Ann", "\"fewer\"");
}

#[test]
fn functions_and_schedules_run_as_on_a_server() {
    let jobs = format!(
        "{MANIFEST}[[functions]]\nname = \"ring\"\nscript = \"ring.rhai\"\n\
         [[schedules]]\nname = \"tick\"\ncron = \"* * * * * *\"\nscript = \"tick.rhai\"\n"
    );
    let files = [
        ("picloud.toml", jobs.as_str()),
        ("greet.rhai", SCRIPT),
        ("ring.rhai", "ctx.request.body.times * 21"),
        ("tick.rhai", "log::warn(\"tock\")"),
    ];
    let dev = Dev::start(&files, &["--schedules", "--app", "jobs"]);
    dev.says("schedule tick  ran in ");
    dev.says(" warn tick.rhai:1:6  tock\n");
    let called = Command::new(picloud())
        .args(["invoke", "ring", "--data", "{\"times\": 2}", "--app", "jobs"])
        .env("PICLOUD_TOKEN", "any")
        .args(["--url", &format!("http://{}", dev.address)])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(called.stdout).unwrap(), "42\n");
    let function = "/-/api/v1/apps/jobs/functions/ring";
    assert_eq!(dev.request("POST", function, None).0, 401, "cross-site requests are rejected");
    assert_eq!(dev.request("POST", function, Some("any")), (200, "42".to_owned()));
    let quiet = Dev::start(&files, &[]);
    quiet.says("+ tick  * * * * * *  UTC  tick.rhai  next ");
    assert_eq!(quiet.get("/greet/Ann"), "\"Hello, Ann\"");
    assert!(!quiet.log().contains("tock"));
}

#[test]
fn missing_folder_and_used_address_are_reported() {
    let dev = Dev::hello();
    let run = |arguments: &[&str]| {
        let output =
            Command::new(picloud()).arg("dev").args(arguments).current_dir(dev.app()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = run(&["nowhere"]);
    assert!(code == Some(1) && text.contains("cannot read nowhere"), "{text}");
    let (code, text) = run(&["--listen", &dev.address]);
    assert!(code == Some(1) && text.contains("cannot listen on"), "{text}");
    assert_eq!(run(&["--app", "No"]).0, Some(2));
}

#[test]
fn push_to_dev_server_is_rejected_with_a_hint() {
    let dev = Dev::hello();
    let (status, text) = dev.request("GET", "/hello.git/info/refs?service=git-receive-pack", None);
    assert!(status == 421 && text.contains("picloud dev"), "{status} {text}");
}

#[test]
fn secrets_file_is_read_and_reloaded() {
    let manifest = MANIFEST.replace("1.1", "1.2") + "[secrets]\nrequired = [\"API_KEY\", \"OTHER\"]\n";
    let script = "[ctx.secrets.API_KEY.len(), ctx.secrets.OTHER.len()]";
    let env = "# for dev alone\nAPI_KEY=\"of the file\"\nexport OTHER=1234567\n";
    let files = [("picloud.toml", manifest.as_str()), ("greet.rhai", script), (".env", env)];
    let dev = Dev::start_in(&files, &[], Some(("OTHER", "of the environment")));
    dev.serves("/greet/Ann", "[11,18]");
    write(&dev.app().join(".env"), "API_KEY='longer than before'\n");
    dev.serves("/greet/Ann", "[18,18]");
    write(&dev.app().join(".env"), "API_KEY=tangerine-1\n\nno such thing tangerine-2\n");
    dev.says("warning: .env:3 is not NAME=VALUE; values with spaces need quotes; the file is ignored");
    assert!(!dev.log().contains("tangerine"), "{}", dev.log());
}

#[test]
fn schedule_is_run_manually() {
    let schedule = |name: &str| {
        format!("[[schedules]]\nname = \"{name}\"\ncron = \"@yearly\"\nscript = \"{name}.rhai\"\n")
    };
    let manifest = MANIFEST.to_owned() + &schedule("tick") + &schedule("broken");
    let files = [
        ("picloud.toml", manifest.as_str()),
        ("greet.rhai", SCRIPT),
        ("tick.rhai", "log::info(`ran as ${ctx.invocation_type}`)"),
        ("broken.rhai", "throw \"no flour\""),
    ];
    let dev = Dev::start(&files, &[]);
    dev.says("serving in ");
    let run = |name: &str| {
        let url = format!("http://{}", dev.address);
        let mut cli = Command::new(picloud());
        cli.args(["run", name, "--url", &url, "--app", "hello"]).env("PICLOUD_TOKEN", "any");
        let output = cli.current_dir(dev.folder.path()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let (succeeded, text) = run("tick");
    assert!(succeeded && text.contains("succeeded"), "{text}");
    dev.says("ran as ");
    let (succeeded, text) = run("broken");
    assert!(!succeeded && text.contains("failed") && text.contains("no flour"), "{text}");
    let (succeeded, output) = run("absent");
    assert!(!succeeded && output.contains("schedule not found"), "{output}");
    let (status, output) = dev.request("POST", "/-/api/v1/apps/hello/schedules/tick/run", None);
    assert_eq!(status, 401, "cross-site requests are rejected: {output}");
}

#[test]
fn secrets_are_read_from_environment_and_never_shown() {
    let dev = Dev::with_secret(Some("tangerine-1"));
    dev.says("serving in ");
    assert_eq!(dev.get("/hello/greet/Ann"), "11");
    dev.says("key [secret API_KEY]");
    assert!(!dev.log().contains("tangerine"), "{}", dev.log());
    let dev = Dev::with_secret(None);
    dev.says("warning: picloud.toml  required secret API_KEY is not set; scripts that read it will fail");
    dev.says("API_KEY=… picloud dev");
    assert_eq!(dev.request("GET", "/hello/greet/Ann", None).0, 500);
}

/// A page elsewhere can point its own name to this machine (DNS rebinding), and would share an origin with the server.
#[test]
fn unknown_host_is_rejected() {
    let files = [("picloud.toml", MANIFEST), ("greet.rhai", SCRIPT)];
    let dev = Dev::start(&files, &["--host", "pi.local"]);
    dev.says("serving in ");
    let port = dev.address.rsplit_once(':').unwrap().1;
    let request = |host: &str, path: &str| {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let response =
            agent.get(format!("http://{}{path}", dev.address)).header("host", host).call().unwrap();
        response.status().as_u16()
    };
    for host in ["evil.example", "rebind.network:80", "localhost.evil.example", "127.0.0.1.nip.io", "pi"] {
        for path in ["/greet/Ann", "/hello/greet/Ann", "/-/health/live"] {
            assert_eq!(request(host, path), 421, "{host}{path}");
        }
    }
    for host in [
        &format!("127.0.0.1:{port}"),
        "localhost",
        "hello.localhost",
        "192.168.1.7:3000",
        "[::1]:80",
        "PI.local",
    ] {
        assert_eq!(request(host, "/greet/Ann"), 200, "{host}");
    }
}

#[test]
fn script_sees_where_the_request_came_from() {
    let manifest = "sdk = \"1.3\"\n[[routes]]\npath = \"/who\"\nscript = \"who.rhai\"\n";
    let script = "let r = ctx.request; [r.scheme, r.ip, r.base]";
    let dev = Dev::start(&[("picloud.toml", manifest), ("who.rhai", script)], &[]);
    dev.serves("/who", r#"["http","127.0.0.1",""]"#);
    dev.serves("/hello/who", r#"["http","127.0.0.1","/hello"]"#);
}

#[test]
fn scheduled_script_sees_its_earlier_runs() {
    let manifest =
        "sdk = \"1.3\"\n[[schedules]]\nname = \"tick\"\ncron = \"0 0 1 1 *\"\nscript = \"tick.rhai\"\n";
    let script = "log::info(`last ${ctx.schedule.last_success == ()} missed ${ctx.schedule.missed}`)";
    let dev = Dev::start(&[("picloud.toml", manifest), ("tick.rhai", script)], &[]);
    dev.says("serving in ");
    for expected in ["last true missed 0", "last false missed 0"] {
        assert_eq!(dev.request("POST", "/-/api/v1/apps/hello/schedules/tick/run", Some("any")).0, 200);
        dev.says(expected);
    }
}

#[test]
fn saved_library_or_template_reloads() {
    let manifest = MANIFEST.replace("1.1", "1.3");
    let script = "import \"lib/text\" as text;\nhtml::render(\"page.txt\", #{ name: text::polite(ctx.request.params.name) })";
    let dev = Dev::start(
        &[
            ("picloud.toml", &manifest),
            ("greet.rhai", script),
            ("lib/text.rhai", "fn polite(name) { \"dear \" + name }"),
            ("templates/page.txt", "Hello, {{ name }}"),
        ],
        &[],
    );
    dev.serves("/greet/Ann", "\"Hello, dear Ann\"");
    dev.says("+ lib/text.rhai");
    dev.says("+ templates/page.txt");
    write(&dev.app().join("lib/text.rhai"), "fn polite(name) { name + \", my friend\" }");
    dev.serves("/greet/Ann", "\"Hello, Ann, my friend\"");
    dev.says("~ lib/text.rhai");
    write(&dev.app().join("templates/page.txt"), "Good morning, {{ name }}");
    dev.serves("/greet/Ann", "\"Good morning, Ann, my friend\"");
    dev.says("~ templates/page.txt");
    write(&dev.app().join("lib/text.rhai"), "fn polite(name) {\n  nope(name)\n}");
    dev.says("lib/text.rhai:2:3  unknown function `nope`");
    dev.serves("/greet/Ann", "\"Good morning, Ann, my friend\"");
}
