//! Revisions: validation, compiled programs and routing.

use super::*;

#[test]
fn revision_needs_every_named_script() {
    let manifest = manifest(&[("/", "gone.rhai")]);
    let error = Revision::new(app(), "a".repeat(40), manifest, BTreeMap::new(), None).unwrap_err();
    assert_eq!(error, RevisionError::MissingScript(path("gone.rhai")));
}

#[test]
fn revision_rejects_conflicting_routes() {
    let twice = manifest(&[("/a/{x}", "main.rhai"), ("/a/{y}", "main.rhai")]);
    assert_eq!(runtime::check_routes(&twice), Err(RouteConflict("/a/{y}".to_owned())));
    assert_eq!(runtime::check_routes(&manifest(&[("/a/{x}", "main.rhai"), ("/{*y}", "main.rhai")])), Ok(()));
}

#[test]
fn compiled_program_is_reused() {
    // The source differs on purpose: only the compiled script returns 1.
    let compiled = compile(SdkVersion::V1_1, &path("main.rhai"), "1").unwrap();
    let sources = sources("2");
    sources[&path("main.rhai")].set_program(SdkVersion::V1_1, Arc::new(compiled.into()));
    let manifest = manifest(&[("/", "main.rhai")]);
    let revision = Revision::new(app(), "a".repeat(40), manifest, sources, None).unwrap();
    assert_eq!(script("").run_on(&revision).execution.outcome.unwrap().body, "1");
}

#[test]
fn new_secret_does_not_recompile() {
    let call =
        Call { secrets: vec![("KEY", "first")], sdk: SdkVersion::V1_2, ..script("ctx.secrets.KEY") }.stored();
    let revision = call.revision();
    assert!(inline_here(&call, &revision).is_none(), "not compiled yet");
    assert_eq!(call.run_on(&revision).execution.outcome.unwrap().body, "\"first\"");
    let values = BTreeMap::from([("KEY".to_owned(), "second".to_owned())]);
    let updated = revision.with_secrets(&Secrets::new(values));
    let (inline, _) = inline_here(&call, &updated).expect("shares the compiled program");
    assert_eq!(inline.outcome.unwrap().body, "\"second\"");
}

#[test]
fn program_of_another_sdk_is_not_reused() {
    let compiled = compile(SdkVersion::V1_0, &path("main.rhai"), "1").unwrap();
    let sources = sources("2");
    sources[&path("main.rhai")].set_program(SdkVersion::V1_0, Arc::new(compiled.into()));
    let manifest = manifest(&[("/", "main.rhai")]);
    let revision = Revision::new(app(), "a".repeat(40), manifest, sources, None).unwrap();
    assert_eq!(script("").run_on(&revision).execution.outcome.unwrap().body, "2");
}

#[test]
fn revision_routes_requests_to_its_scripts() {
    let revision = revision('a', "1");
    let RouteOutcome::Script(matched) = revision.route("GET", "/x/y%20z") else { panic!() };
    assert_eq!((matched.script, matched.rest.as_deref()), (path("main.rhai"), Some("x/y z")));
    assert_eq!(revision.route("GET", "/../etc"), RouteOutcome::BadPath);
}

#[test]
fn execution_has_the_limits_of_its_route() {
    let mut manifest = manifest(&[("/a", "main.rhai"), ("/b", "main.rhai")]);
    manifest.routes[1].limits = RouteLimits { operations: Some(1000), ..RouteLimits::default() };
    let revision = Revision::new(app(), "a".repeat(40), manifest, sources("loop {}"), None).unwrap();
    let limits_of = |path| match revision.route("GET", path) {
        RouteOutcome::Script(matched) => matched.limits,
        outcome => panic!("{outcome:?}"),
    };
    assert_eq!(limits_of("/a"), None);
    let limits = revision.limits().of_route(&limits_of("/b").unwrap());
    let limited =
        Invocation { limits: Some(Arc::new(limits)), ..invocation(&script("loop {}"), Bytes::new()) };
    let program = program(&revision, &limited.script);
    let execution =
        runtime::run(&revision, &program, &limited, ignoring_host(), &Arc::default()).into_finished();
    assert_eq!(execution.outcome.unwrap_err().message, "ran more than 1000 operations");
}

#[test]
fn schedule_has_a_timeout_of_its_own() {
    let schedule = |timeout| Schedule {
        name: JobName::new("tick").unwrap(),
        cron: Cron::parse("@daily", Zone::utc()).unwrap(),
        script: path("main.rhai"),
        overlap: Overlap::Skip,
        catch_up: CatchUp::Once,
        timeout,
    };
    let timeout = |sdk, ceiling: Option<u64>, timeout: Option<u64>| {
        let manifest = Manifest { sdk, ..manifest(&[]) };
        let revision = Revision::new(app(), "a".repeat(40), manifest, sources("1"), None).unwrap();
        let revision = match ceiling {
            Some(seconds) => {
                revision.limited_to(&Limits { timeout: Duration::from_secs(seconds), ..Limits::CEILING })
            }
            None => revision,
        };
        let limits = revision.schedule_limits(&schedule(timeout.map(Duration::from_secs)));
        limits.map(|limits| limits.timeout.as_secs())
    };
    let newest = SdkVersion::V1_3;
    assert_eq!(timeout(newest, None, None), Some(60));
    assert_eq!(timeout(newest, None, Some(20)), Some(20));
    assert_eq!(timeout(newest, Some(30), None), Some(30), "no more than the server grants");
    assert_eq!(timeout(newest, Some(30), Some(40)), Some(30));
    assert_eq!(timeout(newest, Some(600), None), Some(60));
    assert_eq!(timeout(SdkVersion::V1_2, None, None), None, "that of the app");
}
