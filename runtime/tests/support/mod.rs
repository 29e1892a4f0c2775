//! Test helpers: a script, its invocation, and the result.

#![allow(dead_code, reason = "each test file uses some of the helpers")]
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod state;
pub(crate) mod stops;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use manifest_schema::diagnostic::{Diagnostic, Diagnostics};
use manifest_schema::limits::{Limits, RouteLimits};
use manifest_schema::manifest::{App, Function, Manifest, Route, SecretNames};
use manifest_schema::method::MethodSet;
use manifest_schema::name::{AppName, JobName, SettingName};
use manifest_schema::path::RoutePath;
use runtime::{
    AppIdentity, Callee, CalleeError, ChangeMark, CompileBudget, CompileError, CompileFunction, Execution,
    Failure, Host, HostCall, HttpRequest, ImportedFile, Invocation, KvChange, KvError, KvKey, KvList,
    KvReadMode, KvValue, LibraryFile, LibrarySources, LogLine, Pending, Program, Revision, RouteOutcome,
    STACK_SIZE, ScheduledRun, Script, SealingKey, SealingKeyId, Secrets, Seed, Source, Trigger,
    UnlimitedMemory,
};
use uuid::Uuid;

// The names that the contract uses, so that it does not depend on the names of the runtime.
#[allow(unused_imports, reason = "each test file uses some of the helpers")]
pub(crate) use manifest_schema::execution::LogLevel as Level;
pub(crate) use manifest_schema::name::ScriptPath;
pub(crate) use manifest_schema::sdk::SdkVersion;
#[allow(unused_imports, reason = "each test file uses some of the helpers")]
pub(crate) use runtime::{CountingAllocator, FailureKind, Response, callable_functions, compile};
#[allow(unused_imports, reason = "each test file uses some of the helpers")]
pub(crate) use state::TestState;

/// The app of all tests.
pub(crate) const APP: Uuid = Uuid::from_u128(0x6ba7b810_9dad_11d1_80b4_00c04fd430c8);

/// When all executions start: 2026-01-02, 03:04:05.678 UTC.
pub(crate) const STARTED_AT_MS: i64 = 1_767_323_045_678;

/// An execution to test.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) source: String,
    pub(crate) script: String,
    /// The other scripts of the commit, which it can import.
    pub(crate) libraries: Vec<(&'static str, &'static str)>,
    pub(crate) sdk: SdkVersion,
    pub(crate) limits: Limits,
    pub(crate) env: Vec<(&'static str, &'static str)>,
    pub(crate) secrets: Vec<(&'static str, &'static str)>,
    pub(crate) commit: String,
    pub(crate) execution_id: Uuid,
    pub(crate) request_id: Uuid,
    pub(crate) trigger: Trigger,
    pub(crate) stop: Arc<AtomicBool>,
    /// Whether the script was checked by an earlier push, possibly on an earlier server.
    pub(crate) stored: bool,
    /// The templates of the commit: names and texts.
    pub(crate) templates: Vec<(String, String)>,
    /// Functions of the app besides `main`: names and the texts of their scripts.
    pub(crate) functions: Vec<(String, String)>,
}

/// The result of an execution.
pub(crate) struct Ran {
    pub(crate) execution: Execution,
    pub(crate) log: Vec<LogLine>,
    /// The state after it.
    pub(crate) state: TestState,
}

/// A GET request to a script with this text.
pub(crate) fn script(source: &str) -> Call {
    Call {
        source: source.to_owned(),
        script: "main.rhai".to_owned(),
        libraries: Vec::new(),
        sdk: SdkVersion::V1_1,
        limits: Limits::DEFAULT,
        env: Vec::new(),
        secrets: Vec::new(),
        commit: "a".repeat(40),
        execution_id: Uuid::from_u128(1),
        request_id: Uuid::from_u128(2),
        trigger: Trigger::Http(Arc::new(HttpRequest { path: "/".to_owned(), ..HttpRequest::default() })),
        stop: Arc::default(),
        stored: false,
        templates: Vec::new(),
        functions: Vec::new(),
    }
}

impl Call {
    /// With a template of the commit.
    pub(crate) fn template(mut self, name: &str, text: impl Into<String>) -> Self {
        self.templates.push((name.to_owned(), text.into()));
        self
    }

    /// With a function of the app.
    pub(crate) fn function_named(mut self, name: &str, source: impl Into<String>) -> Self {
        self.functions.push((name.to_owned(), source.into()));
        self
    }

    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        self.with_request(|request| {
            let mut headers = Vec::new();
            request.headers.for_each(&mut |name, value| headers.push((name.to_owned(), value.to_vec())));
            headers.push((name.to_owned(), value.as_bytes().to_vec()));
            request.headers = Arc::new(headers);
        })
    }

    pub(crate) fn body(self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.header("content-type", content_type).with_request(|request| request.body = body.into())
    }

    pub(crate) fn with_request(mut self, change: impl FnOnce(&mut HttpRequest)) -> Self {
        if let Trigger::Http(request) = &mut self.trigger {
            change(Arc::make_mut(request));
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
        let run = ScheduledRun { name, due_at_ms: 1_767_225_600_000, last_success_ms: None, missed: 0 };
        Self { trigger: Trigger::Scheduled(run), ..self }
    }

    pub(crate) fn limits(self, change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = self.limits.clone();
        change(&mut limits);
        Self { limits, ..self }
    }

    /// As loaded by a node that has just started.
    pub(crate) fn stored(self) -> Self {
        Self { stored: true, ..self }
    }

    /// Routed like a request for `target` in an app with this single route.
    pub(crate) fn routed(self, route: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let revision = self.revision_with(vec![route.to_owned()]);
        let RouteOutcome::Script(matched) = revision.route("GET", path) else {
            panic!("{target} is not routed")
        };
        self.with_request(|request| {
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
            limits: RouteLimits::default(),
        });
        let mut functions = vec![Function { name: JobName::new("main").unwrap(), script: path.clone() }];
        functions.extend(self.functions.iter().map(|(name, _)| Function {
            name: JobName::new(name).unwrap(),
            script: ScriptPath::new(&format!("{name}.rhai")).unwrap(),
        }));
        let manifest = Manifest {
            sdk: self.sdk,
            app: App::default(),
            routes: routes.collect(),
            schedules: Vec::new(),
            functions,
            env: self.env.iter().map(|(name, value)| (setting(name), (*value).to_owned())).collect(),
            secrets: SecretNames { required: self.secrets.iter().map(|(name, _)| setting(name)).collect() },
            limits: self.limits.clone(),
            checks: Vec::new(),
        };
        let app = AppIdentity { id: APP, name: AppName::new("hello").unwrap() };
        let source = if self.stored {
            Source::new(self.source.clone()).with_libraries(self.library_files())
        } else {
            let (script, files) =
                self.check().unwrap_or_else(|diagnostics| panic!("rejected: {diagnostics:?}"));
            let source = Source::new(self.source.clone()).with_libraries(files);
            source.set_program(self.sdk, Arc::new(script.into()));
            source
        };
        let source = Arc::new(source);
        let mut sources = BTreeMap::from([(path, source)]);
        for (name, text) in &self.functions {
            let path = ScriptPath::new(&format!("{name}.rhai")).unwrap();
            sources.insert(path, Arc::new(Source::new(text.clone())));
        }
        let values = self.secrets.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let secrets = Secrets::new(values.collect());
        let revision = Revision::new(app, self.commit.clone(), manifest, sources, None).unwrap();
        let templates = self.templates.iter();
        let templates = templates.map(|(name, text)| (name.clone(), Arc::new(Source::new(text.clone()))));
        revision.with_templates(templates.collect()).with_secrets(&secrets)
    }

    /// All libraries, unchecked.
    fn library_files(&self) -> Vec<LibraryFile> {
        let files: BTreeMap<_, _> = self.libraries.iter().copied().collect();
        let file = |(path, text): (&str, &str)| LibraryFile {
            path: ScriptPath::new(path).unwrap(),
            source: Arc::new(Source::new(text)),
        };
        files.into_iter().map(file).collect()
    }

    /// Checks the script and its libraries as a push does.
    pub(crate) fn check(&self) -> Result<(Script, Vec<LibraryFile>), Diagnostics> {
        let path = ScriptPath::new(&self.script).unwrap();
        let mut files = BTreeMap::from([(path.clone(), self.source.as_str())]);
        for (name, text) in &self.libraries {
            files.insert(ScriptPath::new(name).unwrap(), *text);
        }
        let (sources, mut diagnostics) = (Commit(self.sdk, &files), Diagnostics::default());
        let roots = [path.clone()].into();
        let libraries = runtime::check_libraries(self.sdk, &roots, &sources, None, &mut diagnostics).unwrap();
        let compiled =
            runtime::compile_within(self.sdk, &path, &self.source, None, &libraries, &sources.budget());
        match compiled {
            Ok(script) if diagnostics.errors() == 0 => {
                let linked = libraries.linked_with(&path);
                let file = |(path, text): (ScriptPath, &str)| LibraryFile {
                    path,
                    source: Arc::new(Source::new(text)),
                };
                Ok((script, linked.into_iter().map(file).collect()))
            }
            Ok(_) => Err(diagnostics),
            Err(CompileError::Diagnostics(found)) => {
                diagnostics.append(found);
                Err(diagnostics)
            }
            Err(CompileError::OutOfMemory(_)) => unreachable!("the budget is unlimited"),
        }
    }

    pub(crate) fn run(&self) -> Ran {
        self.run_on(&self.revision())
    }

    /// Executes on a thread with the full stack.
    pub(crate) fn run_on(&self, revision: &Revision) -> Ran {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK_SIZE);
            thread.spawn_scoped(scope, || self.run_here(revision)).unwrap().join().unwrap()
        })
    }

    /// An execution of its own, which sees the same time and random numbers as all others.
    pub(crate) fn invocation(&self) -> Invocation {
        let script = ScriptPath::new(&self.script).unwrap();
        let (started_at_ms, seed) = (STARTED_AT_MS, Seed::fixed(1));
        let invocation = Invocation::new(script, self.execution_id, self.request_id, self.trigger.clone());
        Invocation { started_at_ms, seed, ..invocation }
    }

    /// Executes on this thread.
    pub(crate) fn run_here(&self, revision: &Revision) -> Ran {
        let lines = Arc::new(Lines::of(revision));
        let invocation = self.invocation();
        let program = program(revision, &invocation.script);
        let execution =
            runtime::run(revision, &program, &invocation, Arc::<Lines>::clone(&lines), &self.stop)
                .into_finished();
        let log = lines.lines.lock().unwrap().clone();
        let state = std::mem::take(&mut *lines.state.lock().unwrap());
        Ran { execution, log, state }
    }

    #[track_caller]
    pub(crate) fn response(&self) -> Response {
        self.run().execution.outcome.unwrap_or_else(|failure| panic!("{failure}"))
    }

    #[track_caller]
    pub(crate) fn failure(&self) -> Failure {
        match self.run().execution.outcome {
            Ok(response) => panic!("returned {response:?}"),
            Err(failure) => failure,
        }
    }

    /// The body of a response with status 200, as text.
    #[track_caller]
    pub(crate) fn text(&self) -> String {
        let response = self.response();
        assert_eq!(response.status, 200);
        String::from_utf8(response.body.to_vec()).unwrap()
    }
}

/// The files of a commit.
struct Commit<'t>(SdkVersion, &'t BTreeMap<ScriptPath, &'t str>);

impl<'t> LibrarySources<'t> for Commit<'t> {
    fn scripts(&self) -> BTreeSet<ScriptPath> {
        self.1.keys().cloned().collect()
    }

    fn text(&self, path: &ScriptPath) -> Result<&'t str, Diagnostic> {
        Ok(self.1[path])
    }

    fn imports(&self, path: &ScriptPath) -> Arc<[ImportedFile]> {
        runtime::imported_files(self.0, self.1[path]).into()
    }

    fn budget(&self) -> Arc<dyn CompileBudget> {
        Arc::new(UnlimitedMemory)
    }

    fn is_late(&self) -> bool {
        false
    }
}

/// The compiled script, as a server compiles it on its first execution.
pub(crate) fn program(revision: &Revision, script: &ScriptPath) -> Arc<Program> {
    let absent = Arc::new(Source::new(""));
    let (sdk, source) = (revision.manifest().sdk, revision.sources().get(script).unwrap_or(&absent));
    source.program(sdk).unwrap_or_else(|| {
        let budget: Arc<dyn CompileBudget> = Arc::new(UnlimitedMemory);
        let program = Arc::new(Program::compile(sdk, script, source, &budget).unwrap());
        source.set_program(sdk, Arc::clone(&program));
        program
    })
}

fn setting(name: &str) -> SettingName {
    SettingName::new(name).unwrap()
}

/// Keeps the log lines, and a state that is empty at first.
#[derive(Default)]
pub(crate) struct Lines {
    lines: Mutex<Vec<LogLine>>,
    pub(crate) state: Mutex<TestState>,
    /// The revision whose functions can be called.
    revision: Option<Arc<Revision>>,
}

impl Lines {
    pub(crate) fn of(revision: &Revision) -> Self {
        Self { revision: Some(Arc::new(revision.clone())), ..Self::default() }
    }

    pub(crate) fn messages(&self) -> Vec<String> {
        self.lines.lock().unwrap().iter().map(|line| line.message.clone()).collect()
    }
}

impl Host for Lines {
    fn log(&self, line: LogLine) -> HostCall<()> {
        self.lines.lock().unwrap().push(line);
        HostCall::Ready(())
    }

    fn kv_get(&self, keys: &[KvKey], _: KvReadMode) -> HostCall<Result<Vec<Option<KvValue>>, KvError>> {
        HostCall::Ready(self.state.lock().unwrap().get(keys))
    }

    fn kv_list(&self, list: &KvList) -> HostCall<Result<Vec<(KvKey, KvValue)>, KvError>> {
        HostCall::Ready(self.state.lock().unwrap().list(list))
    }

    fn kv_change(&self, key: &KvKey, change: KvChange) -> HostCall<Result<(), KvError>> {
        HostCall::Ready(self.state.lock().unwrap().change(key, change))
    }

    fn function(&self, name: &str, may_compile: bool) -> Result<Callee, CalleeError> {
        let Some(revision) = &self.revision else { return Err(CalleeError::Unknown(None)) };
        let compile: CompileFunction<'_> = &|of, path| Ok(program(of, path));
        Callee::find(revision, name, may_compile.then_some(compile))
    }

    fn mark_changes(&self) -> ChangeMark {
        self.state.lock().unwrap().mark()
    }

    fn undo_changes(&self, mark: ChangeMark) {
        self.state.lock().unwrap().undo(mark);
    }

    fn sealing_key(&self, id: Option<SealingKeyId>) -> HostCall<Result<Option<SealingKey>, String>> {
        let key = SealingKey::for_development(APP);
        HostCall::Ready(Ok(Some(key).filter(|key| id.is_none_or(|id| id == key.id()))))
    }

    fn wait(&self, _: Pending, _: &AtomicBool) -> Duration {
        unreachable!("no pending calls")
    }
}

/// Passes each log line to a function.
pub(crate) struct OnLog<F>(pub(crate) F);

impl<F: Fn(LogLine) + Send + Sync> Host for OnLog<F> {
    fn log(&self, line: LogLine) -> HostCall<()> {
        self.0(line);
        HostCall::Ready(())
    }

    fn wait(&self, _: Pending, _: &AtomicBool) -> Duration {
        unreachable!("no pending calls")
    }
}
