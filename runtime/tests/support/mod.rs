//! A small vocabulary for tests of the runtime: a script, what it is called with, and what came out.

#![allow(dead_code, reason = "each test file uses its own part of the vocabulary")]
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use manifest_schema::limits::Limits;
use manifest_schema::manifest::{App, Function, Manifest, Route, SecretNames};
use manifest_schema::method::MethodSet;
use manifest_schema::name::{AppName, JobName, SettingName};
use manifest_schema::path::RoutePath;
use runtime::{
    AppIdentity, Execution, Failure, Host, HostCall, HttpRequest, Invocation, LogLine, Pending, Program,
    Revision, Room, Routed, STACK, Secrets, Source, Trigger, Unbounded,
};
use uuid::Uuid;

// What the contract speaks of, so that it names nothing of the runtime itself.
#[allow(unused_imports, reason = "each test file uses its own part of the vocabulary")]
pub(crate) use manifest_schema::execution::LogLevel as Level;
pub(crate) use manifest_schema::name::ScriptPath;
pub(crate) use manifest_schema::sdk::SdkVersion;
#[allow(unused_imports, reason = "each test file uses its own part of the vocabulary")]
pub(crate) use runtime::{Answer, CountingAllocator, FailureKind, compile, functions};

/// The app that all tests deploy.
pub(crate) const APP: Uuid = Uuid::from_u128(0x6ba7b810_9dad_11d1_80b4_00c04fd430c8);

/// What every test may set about one run.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) source: String,
    pub(crate) script: String,
    pub(crate) sdk: SdkVersion,
    pub(crate) limits: Limits,
    pub(crate) env: Vec<(&'static str, &'static str)>,
    pub(crate) secrets: Vec<(&'static str, &'static str)>,
    pub(crate) commit: String,
    pub(crate) execution_id: Uuid,
    pub(crate) request_id: Uuid,
    pub(crate) trigger: Trigger,
    pub(crate) stop: Arc<AtomicBool>,
    /// Whether the script was checked by an earlier push, perhaps to an earlier server.
    pub(crate) stored: bool,
}

/// What a run left behind.
pub(crate) struct Ran {
    pub(crate) execution: Execution,
    pub(crate) log: Vec<LogLine>,
}

/// A call of the script with this text, by a plain GET.
pub(crate) fn script(source: &str) -> Call {
    Call {
        source: source.to_owned(),
        script: "main.rhai".to_owned(),
        sdk: SdkVersion::V1_1,
        limits: Limits::DEFAULT,
        env: Vec::new(),
        secrets: Vec::new(),
        commit: "a".repeat(40),
        execution_id: Uuid::from_u128(1),
        request_id: Uuid::from_u128(2),
        trigger: Trigger::Http(HttpRequest { path: "/".to_owned(), ..HttpRequest::default() }),
        stop: Arc::default(),
        stored: false,
    }
}

impl Call {
    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        self.also(|request| {
            let mut headers = Vec::new();
            request.headers.each(&mut |name, value| headers.push((name.to_owned(), value.to_vec())));
            headers.push((name.to_owned(), value.as_bytes().to_vec()));
            request.headers = Arc::new(headers);
        })
    }

    pub(crate) fn body(self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.header("content-type", content_type).also(|request| request.body = body.into())
    }

    pub(crate) fn also(mut self, change: impl FnOnce(&mut HttpRequest)) -> Self {
        if let Trigger::Http(request) = &mut self.trigger {
            change(request);
        }
        self
    }

    pub(crate) fn function(self, payload: impl Into<Bytes>) -> Self {
        Self {
            trigger: Trigger::Function { name: JobName::new("main").unwrap(), payload: payload.into() },
            ..self
        }
    }

    pub(crate) fn scheduled(self) -> Self {
        let name = JobName::new("tick").unwrap();
        Self { trigger: Trigger::Scheduled { name, due: "2026-01-01T00:00:00Z".to_owned() }, ..self }
    }

    pub(crate) fn limits(self, change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = self.limits.clone();
        change(&mut limits);
        Self { limits, ..self }
    }

    /// As read from the store by a node that has just started.
    pub(crate) fn stored(self) -> Self {
        Self { stored: true, ..self }
    }

    /// Routed as a request for `target` would be on an app with this one route.
    pub(crate) fn routed(self, route: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let revision = self.revision_with(vec![route.to_owned()]);
        let Routed::Script(matched) = revision.route("GET", path) else { panic!("{target} is not routed") };
        self.also(|request| {
            request.path = matched.path;
            request.params = matched.params;
            request.rest = matched.rest;
            request.query = query.to_owned();
        })
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision_with(Vec::new())
    }

    pub(crate) fn revision_with(&self, routes: Vec<String>) -> Revision {
        let path = ScriptPath::new(&self.script).unwrap();
        let routes = routes.iter().map(|route| Route {
            path: RoutePath::parse(route).unwrap(),
            methods: MethodSet::ALL,
            script: path.clone(),
        });
        let manifest = Manifest {
            sdk: self.sdk,
            app: App::default(),
            routes: routes.collect(),
            schedules: Vec::new(),
            functions: vec![Function { name: JobName::new("main").unwrap(), script: path.clone() }],
            env: self.env.iter().map(|(name, value)| (setting(name), (*value).to_owned())).collect(),
            secrets: SecretNames { required: self.secrets.iter().map(|(name, _)| setting(name)).collect() },
            limits: self.limits.clone(),
        };
        let app = AppIdentity { id: APP, name: AppName::new("hello").unwrap() };
        let source = Arc::new(Source::new(self.source.clone()));
        if !self.stored {
            let script = runtime::compile(self.sdk, &path, &self.source);
            let script = script.unwrap_or_else(|diagnostics| panic!("a push refuses it: {diagnostics:?}"));
            source.set_program(self.sdk, Arc::new(script.into()));
        }
        let sources = BTreeMap::from([(path, source)]);
        let values = self.secrets.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let secrets = Secrets::new(values.collect());
        let revision = Revision::new(app, self.commit.clone(), manifest, sources, None).unwrap();
        revision.with_secrets(&secrets)
    }

    pub(crate) fn run(&self) -> Ran {
        self.run_on(&self.revision())
    }

    /// Runs on a thread with the stack that runs are promised.
    pub(crate) fn run_on(&self, revision: &Revision) -> Ran {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK);
            thread.spawn_scoped(scope, || self.run_here(revision)).unwrap().join().unwrap()
        })
    }

    /// Runs on this thread.
    pub(crate) fn run_here(&self, revision: &Revision) -> Ran {
        let lines = Arc::new(Lines::default());
        let invocation = Invocation {
            script: ScriptPath::new(&self.script).unwrap(),
            execution_id: self.execution_id,
            request_id: self.request_id,
            trigger: self.trigger.clone(),
        };
        let program = program(revision, &invocation.script);
        let execution =
            runtime::run(revision, &program, &invocation, Arc::<Lines>::clone(&lines), &self.stop);
        let log = lines.0.lock().unwrap().clone();
        Ran { execution, log }
    }

    #[track_caller]
    pub(crate) fn answer(&self) -> Answer {
        self.run().execution.outcome.unwrap_or_else(|failure| panic!("{failure}"))
    }

    #[track_caller]
    pub(crate) fn failure(&self) -> Failure {
        match self.run().execution.outcome {
            Ok(answer) => panic!("answered {answer:?}"),
            Err(failure) => failure,
        }
    }

    /// The body of a 200 as text.
    #[track_caller]
    pub(crate) fn text(&self) -> String {
        let answer = self.answer();
        assert_eq!(answer.status, 200);
        String::from_utf8(answer.body.to_vec()).unwrap()
    }
}

/// What a script of the revision is compiled to, as a server has it when it first runs.
pub(crate) fn program(revision: &Revision, script: &ScriptPath) -> Arc<Program> {
    let absent = Arc::new(Source::new(""));
    let (sdk, source) = (revision.manifest().sdk, revision.sources().get(script).unwrap_or(&absent));
    source.program(sdk).unwrap_or_else(|| {
        let room: Arc<dyn Room> = Arc::new(Unbounded);
        let program = Arc::new(Program::compile(sdk, script, source.text(), &room).unwrap());
        source.set_program(sdk, Arc::clone(&program));
        program
    })
}

fn setting(name: &str) -> SettingName {
    SettingName::new(name).unwrap()
}

/// Keeps what was logged.
#[derive(Default)]
pub(crate) struct Lines(Mutex<Vec<LogLine>>);

impl Lines {
    pub(crate) fn messages(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|line| line.message.clone()).collect()
    }
}

impl Host for Lines {
    fn log(&self, line: LogLine) -> HostCall<()> {
        self.0.lock().unwrap().push(line);
        HostCall::Ready(())
    }

    fn wait(&self, _: Pending, _: &AtomicBool) -> Duration {
        unreachable!("nothing is left pending")
    }
}

/// Hands each line to a function.
pub(crate) struct OnLog<F>(pub(crate) F);

impl<F: Fn(LogLine) + Send + Sync> Host for OnLog<F> {
    fn log(&self, line: LogLine) -> HostCall<()> {
        self.0(line);
        HostCall::Ready(())
    }

    fn wait(&self, _: Pending, _: &AtomicBool) -> Duration {
        unreachable!("nothing is left pending")
    }
}
