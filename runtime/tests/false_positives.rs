//! Correct scripts that resemble the mistakes of each check: they have no findings, and they run.

mod support;

use std::path::Path;
use std::sync::Arc;

use manifest_schema::name::ScriptPath;
use manifest_schema::sdk::SdkVersion;
use runtime::{CompileBudget, CountingAllocator, Libraries, ManifestNames, UnlimitedMemory, compile_within};
use support::{Call, script};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn correct_scripts_have_no_findings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/false_positives");
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let source = std::fs::read_to_string(&path).unwrap();
        let shown = path.file_name().unwrap().to_string_lossy().into_owned();
        for sdk in [SdkVersion::V1_2, SdkVersion::V1_3] {
            let (route, target) = source
                .lines()
                .find_map(|line| line.strip_prefix("// route ")?.split_once(" for "))
                .unwrap_or(("/", "/"));
            let call = Call {
                sdk,
                env: vec![("GREETING", "Hello")],
                secrets: vec![("TOKEN", "tangerine")],
                ..script(&source)
            };
            let call = call.routed(route, target).body("application/json", "{}");
            let revision = call.revision_with(vec![route.to_owned()]);
            let main = ScriptPath::new("main.rhai").unwrap();
            let names = ManifestNames::of(revision.manifest(), &main);
            let budget: Arc<dyn CompileBudget> = Arc::new(UnlimitedMemory);
            let compiled = compile_within(sdk, &main, &source, Some(&names), &Libraries::default(), &budget);
            let warnings = match &compiled {
                Ok(script) => script.warnings(),
                Err(diagnostics) => panic!("{shown}: {diagnostics:?}"),
            };
            assert!(warnings.is_empty(), "{shown}: {warnings:?}");
            let ended = call.run().execution.outcome;
            assert!(ended.is_ok(), "{shown}: {ended:?}");
        }
        checked += 1;
    }
    assert!(checked >= 9);
}
