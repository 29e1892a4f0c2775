//! Measures the table of what is live, without a server: what `make bench` asks of it. Prints JSON: of each measurement the
//! nanoseconds of one step with few and with many, the medians of several rounds in turn.
//!
//!     live_table

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use manifest_schema::limits::Limits;
use manifest_schema::manifest::{App, Manifest, Route};
use manifest_schema::method::{Method, MethodSet};
use manifest_schema::name::{AppName, ScriptPath};
use manifest_schema::path::RoutePath;
use manifest_schema::sdk::SdkVersion;
use platform::live::{Branch, KnownBranches, LiveTable};
use platform::memory::MemoryBudget;
use runtime::{AppIdentity, Revision, RouteOutcome, Source};
use serde_json::json;
use uuid::Uuid;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// As the node counts.
#[global_allocator]
static ALLOCATOR: runtime::CountingAllocator = runtime::CountingAllocator;

const FEW_ROUTES: usize = 10;
const MANY_ROUTES: usize = 100_000;
const FEW_APPS: usize = 10;
const MANY_APPS: usize = 10_000;

const ROUNDS: usize = 7;
const SWAPS: usize = 2_000;
const NEW_APPS: usize = 50;

fn main() -> Outcome<()> {
    let few = Lookups::new(FEW_ROUTES)?;
    let many = Lookups::new(MANY_ROUTES)?;
    let lookup = in_turn(|| few.measure(), || many.measure())?;
    drop((few, many));

    let (few, many) = (filled(FEW_APPS)?, filled(MANY_APPS)?);
    let swap = in_turn(|| swaps(&few, FEW_APPS), || swaps(&many, MANY_APPS))?;
    let new_app = in_turn(|| new_apps(&few), || new_apps(&many))?;
    println!("{}", json!({"lookup": lookup, "swap": swap, "new_app": new_app}));
    Ok(())
}

/// Measures both sides by turns; the medians, in nanoseconds.
fn in_turn(few: impl Fn() -> Outcome<f64>, many: impl Fn() -> Outcome<f64>) -> Outcome<[f64; 2]> {
    let mut rounds = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        rounds[0].push(few()?);
        rounds[1].push(many()?);
    }
    Ok(rounds.map(|mut side| {
        side.sort_by(f64::total_cmp);
        side[ROUNDS / 2]
    }))
}

fn nanoseconds(took: Duration, steps: usize) -> f64 {
    took.as_secs_f64() * 1e9 / steps as f64
}

/// A revision with many routes, and requests to them.
struct Lookups {
    revision: Revision,
    /// As many however many routes there are, so that reading them costs both sides the same; in no order.
    paths: Vec<String>,
}

impl Lookups {
    fn new(routes: usize) -> Outcome<Self> {
        let revision = revision("lookup", (0..routes).map(|number| format!("{}/{{id}}", place(number))))?;
        let paths = (0..MANY_ROUTES).map(|number| {
            // A step that shares no factor with the number of routes meets each of them.
            let target = number * 7_919 % MANY_ROUTES;
            format!("{}/{target}", place(target % routes))
        });
        Ok(Self { revision, paths: paths.collect() })
    }

    fn measure(&self) -> Outcome<f64> {
        let began = Instant::now();
        for path in &self.paths {
            let RouteOutcome::Script(_) = black_box(self.revision.route("GET", path)) else {
                return Err(format!("{path} leads nowhere").into());
            };
        }
        Ok(nanoseconds(began.elapsed(), self.paths.len()))
    }
}

fn place(number: usize) -> String {
    format!("/area-{}/place-{number}", number % 100)
}

/// A table with an app of one small revision each.
fn filled(apps: usize) -> Outcome<LiveTable> {
    let table = LiveTable::new(MemoryBudget::unbounded());
    for number in 0..apps {
        let name = format!("app-{number}");
        table.replace(&AppName::new(&name)?, Branch::production("main"), small(&name)?, 1);
    }
    Ok(table)
}

/// The cost of making a new revision of an app live. As many apps take turns in a full table as in an empty one, since
/// it is the table that is compared and not how much of it fits into the processor's caches.
fn swaps(table: &LiveTable, apps: usize) -> Outcome<f64> {
    let mut next = Vec::new();
    for number in 0..SWAPS {
        let name = format!("app-{}", number % FEW_APPS * (apps / FEW_APPS));
        next.push((AppName::new(&name)?, small(&name)?));
    }
    let began = Instant::now();
    for (name, revision) in next {
        table.replace(&name, Branch::production("main"), revision, 2);
    }
    Ok(nanoseconds(began.elapsed(), SWAPS))
}

/// The cost of the first revision of an app that was not there.
fn new_apps(table: &LiveTable) -> Outcome<f64> {
    let mut took = Duration::ZERO;
    let name = AppName::new("new")?;
    for _ in 0..NEW_APPS {
        let revision = small("new")?;
        let began = Instant::now();
        table.replace(&name, Branch::production("main"), revision, 1);
        took += began.elapsed();
        table.retain(&name, &KnownBranches::default());
    }
    Ok(nanoseconds(took, NEW_APPS))
}

fn small(app: &str) -> Outcome<Revision> {
    revision(app, ["/".to_owned(), "/greet/{name}".to_owned()])
}

fn revision(app: &str, paths: impl IntoIterator<Item = String>) -> Outcome<Revision> {
    let script = ScriptPath::new("main.rhai")?;
    let methods = MethodSet::from_iter([Method::Get]);
    let mut routes = Vec::new();
    for path in paths {
        routes.push(Route { path: RoutePath::parse(&path)?, methods, script: script.clone() });
    }
    let manifest = Manifest {
        sdk: SdkVersion::NEWEST,
        app: App::default(),
        routes,
        schedules: Vec::new(),
        functions: Vec::new(),
        env: BTreeMap::new(),
        secrets: manifest_schema::manifest::SecretNames::default(),
        limits: Limits::DEFAULT,
    };
    let identity = AppIdentity { id: Uuid::from_u128(1), name: AppName::new(app)? };
    let sources = BTreeMap::from([(script, Arc::new(Source::new("42\n")))]);
    Ok(Revision::new(identity, "0".repeat(40), manifest, sources, None)?)
}
