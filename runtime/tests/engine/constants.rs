//! Constants keep their value, and can be shadowed.

use manifest_schema::sdk::SdkVersion;

use super::FailureKind;
use super::support::{Call, script};

#[test]
fn variable_shadows_constant() {
    for (source, json) in [
        ("const A = 1; let seen = []; for A in [5, 6] { seen.push(A); } [seen, A]", "[[5,6],1]"),
        ("const A = 1; let seen = []; for (x, A) in [5, 6] { seen.push(A); } [seen, A]", "[[0,1],1]"),
        ("const A = 1; let seen = (); try { throw 7 } catch (A) { seen = A; } [seen, A]", "[7,1]"),
        ("const A = #{}; let seen = (); for A in [#{}] { A.x = 1; seen = A; } [seen, A]", "[{\"x\":1},{}]"),
        ("const A = #{}; let seen = (); { let A = #{}; A.x = 1; seen = A; } [seen, A]", "[{\"x\":1},{}]"),
        ("const A = #{}; fn f(A) { A.x = 1; A } [f(A), A]", "[{\"x\":1},{}]"),
    ] {
        for sdk in SdkVersion::ALL {
            assert_eq!(Call { sdk, ..script(source) }.text(), json, "{sdk:?} {source}");
        }
    }
}

/// A check of an older version only warns. Rhai rejects the change if the key exists.
#[test]
fn change_of_a_constant_can_be_caught() {
    for change in ["A.x = 1", "A.x += 1", "A[\"x\"] = 1", "A[[\"x\"][0]] = 1", "A?.x = 1"] {
        let call = |source: &str| Call { sdk: SdkVersion::V1_2, ..script(source) };
        let failure =
            call(&format!("const A = #{{ x: 1 }};\n{change}; A")).run().execution.outcome.unwrap_err();
        assert_eq!(
            (failure.kind, failure.message.as_str()),
            (FailureKind::Script, "`A` is a constant"),
            "{change}"
        );
        assert_eq!(failure.location.map(|place| place.line), Some(2), "{change}");
        let caught =
            call(&format!("const A = #{{ x: 1 }}; try {{ {change}; }} catch {{ return \"caught\"; }} A"));
        assert_eq!(caught.text(), "\"caught\"", "{change}");
    }
}
