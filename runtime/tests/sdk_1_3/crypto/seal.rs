use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use runtime::{
    FailureKind, Host, HostCall, InlineOutcome, Invocation, LogLine, Pending, SealingKey, SealingKeyId, Seed,
};
use uuid::Uuid;

use super::super::support::{APP, STARTED_AT_MS, ScriptPath, program};
use super::{call, fails};

/// The keys of a node, the newest first.
#[derive(Clone, Default)]
struct Keys(Vec<SealingKey>);

/// The key of an app and an environment, from a key of the node that consists of `byte`.
fn key(byte: u8, is_newest: bool, app: Uuid, environment: &str) -> SealingKey {
    SealingKey::derive(&[byte; 32], ([byte; 8], is_newest), app, environment)
}

impl Host for Keys {
    fn log(&self, _: LogLine) -> HostCall<()> {
        HostCall::Ready(())
    }

    fn wait(&self, _: Pending, _: &AtomicBool) -> Duration {
        Duration::ZERO
    }

    fn sealing_key(&self, id: Option<SealingKeyId>) -> HostCall<Result<Option<SealingKey>, String>> {
        let found = match id {
            Some(id) => self.0.iter().find(|key| key.id() == id),
            None => self.0.first(),
        };
        HostCall::Ready(Ok(found.cloned()))
    }
}

/// The response of an execution with these keys, inline and on its own thread, so many days after the others.
fn with_keys(source: &str, keys: &Keys, seed: u64, days: i64) -> String {
    let call = call(source);
    let revision = call.revision();
    let script = ScriptPath::new(&call.script).unwrap();
    let program = program(&revision, &script);
    let invocation = Invocation::new(script, Uuid::nil(), Uuid::nil(), call.trigger.clone());
    let started_at_ms = STARTED_AT_MS + days * 24 * 60 * 60 * 1000;
    let invocation = Invocation { seed: Seed::fixed(seed), started_at_ms, ..invocation };
    let host = || Arc::new(keys.clone());
    let InlineOutcome::Finished(inline) = runtime::run_inline(&revision, &invocation, host()) else {
        panic!("it is short")
    };
    let own = runtime::run(&revision, &program, &invocation, host(), &call.stop).into_finished();
    let [inline, own] = [inline, own].map(|execution| execution.outcome.unwrap().body);
    assert_eq!(inline, own, "every pass gives the same");
    String::from_utf8(own.to_vec()).unwrap()
}

#[test]
fn values_are_opened_as_they_were() {
    for value in ["#{ user: 7, roles: [\"a\", ()] }", "\"text\"", "[1, 1.5, true]", "()", "\"\""] {
        let source = format!("let v = {value}; [crypto::open(crypto::seal(v)), v]");
        let both = call(&source).text();
        let inner = &both[1..both.len() - 1];
        assert_eq!(inner[..inner.len() / 2], inner[inner.len() / 2 + 1..], "{both}");
    }
    let sealed = call("crypto::seal(\"tangerine\")").text();
    assert!(
        sealed.trim_matches('"').bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    );
    assert!(sealed.len() < 110, "fits into a cookie: {sealed}");
    assert_eq!(call("crypto::seal(1) == crypto::seal(1)").text(), "false");
}

#[test]
fn what_was_changed_is_not_opened() {
    let source = "let s = crypto::seal(#{ admin: false }); let opened = 0; \
                  for i in 0..s.len() { let c = s; c[i] = if s[i] == 'A' { 'B' } else { 'A' }; \
                  if crypto::open(c) != () { opened += 1; } } opened";
    assert_eq!(call(source).text(), "0");
    for text in ["", "A", "é", "a.b", &"A".repeat(74)] {
        assert_eq!(call(&format!("crypto::open(\"{text}\")")).text(), "null", "{text}");
    }
    assert_eq!(
        call("let s = crypto::seal(1); [crypto::open(s + \"A\"), crypto::open(s.sub_string(0, 70))]").text(),
        "[null,null]"
    );
    assert_eq!(call("let s = \"\"; s.pad(1000000, 'A'); crypto::open(s)").text(), "null");
}

#[test]
fn values_are_bounded_json() {
    assert_eq!(
        fails("let t = \"\"; t.pad(65536, 'x'); crypto::seal(t)"),
        "crypto::seal: the JSON is longer than 65536 bytes"
    );
    let most = "let t = \"\"; t.pad(65534, 'x'); crypto::open(crypto::seal(t)) == t";
    assert_eq!(call(most).text(), "true");
    assert_eq!(fails("crypto::seal(blob(1))"), "crypto::seal: a blob cannot be converted to JSON");
    assert!(fails("crypto::seal([ctx.secrets])").contains("cannot be written as a whole"));
}

#[test]
fn every_app_and_environment_has_its_own_key() {
    let keys = |app, environment| Keys(vec![key(1, true, app, environment)]);
    let of_production = keys(APP, "production");
    let sealed = with_keys("crypto::seal(7)", &of_production, 1, 0);
    let open = format!("crypto::open({sealed})");
    assert_eq!(with_keys(&open, &of_production, 2, 365), "7");
    assert_eq!(with_keys(&open, &keys(APP, "preview"), 2, 0), "null");
    assert_eq!(with_keys(&open, &keys(Uuid::nil(), "production"), 2, 0), "null");
    assert_ne!(sealed, with_keys("crypto::seal(7)", &of_production, 2, 0), "another execution");
}

#[test]
fn old_keys_open_for_thirty_days() {
    let sealed = with_keys("crypto::seal(7)", &Keys(vec![key(1, true, APP, "production")]), 1, 0);
    let open = format!("crypto::open({sealed})");
    let both = Keys(vec![key(2, true, APP, "production"), key(1, false, APP, "production")]);
    assert_eq!(with_keys(&open, &both, 1, 29), "7");
    assert_eq!(with_keys(&open, &both, 1, 30), "null");
    let newer = with_keys("crypto::seal(7)", &both, 1, 0);
    assert_eq!(with_keys(&format!("crypto::open({newer})"), &Keys(both.0[..1].to_vec()), 1, 60), "7");
    assert_eq!(with_keys(&open, &Keys(both.0[..1].to_vec()), 1, 0), "null", "the key was removed");
}

#[test]
fn a_node_without_a_key_says_so() {
    struct NoKey;
    impl Host for NoKey {
        fn log(&self, _: LogLine) -> HostCall<()> {
            HostCall::Ready(())
        }

        fn wait(&self, _: Pending, _: &AtomicBool) -> Duration {
            Duration::ZERO
        }
    }
    let call = call("crypto::seal(1)");
    let revision = call.revision();
    let script = ScriptPath::new(&call.script).unwrap();
    let program = program(&revision, &script);
    let invocation = Invocation::new(script, Uuid::nil(), Uuid::nil(), call.trigger.clone());
    let execution =
        runtime::run(&revision, &program, &invocation, Arc::new(NoKey), &call.stop).into_finished();
    let failure = execution.outcome.unwrap_err();
    assert_eq!(
        (failure.kind, failure.message.as_str()),
        (FailureKind::Script, "crypto::seal: this server has no key to seal with")
    );
}
