//! Benchmarks the live table without a server, for `make bench`. Prints JSON: for each measurement the
//! nanoseconds per step with few and with many entries, as the median of several alternating rounds.
//!
//!     live_table

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use manifest_schema::limits::{Limits, RouteLimits};
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

/// The allocator of the node.
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
    let lookup = alternate(|| few.measure(), || many.measure())?;
    drop((few, many));

    let (few, many) = (filled(FEW_APPS)?, filled(MANY_APPS)?);
    let swap = alternate(|| swaps(&few, FEW_APPS), || swaps(&many, MANY_APPS))?;
    let new_app = alternate(|| new_apps(&few), || new_apps(&many))?;
    println!("{}", json!({"lookup": lookup, "swap": swap, "new_app": new_app}));
    Ok(())
}

/// Runs both sides alternately and returns their medians in nanoseconds.
fn alternate(few: impl Fn() -> Outcome<f64>, many: impl Fn() -> Outcome<f64>) -> Outcome<[f64; 2]> {
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

/// A revision with many routes and the request paths to look up.
struct Lookups {
    revision: Revision,
    /// Same number of paths for any number of routes, so that iterating costs both sides the same; shuffled.
    paths: Vec<String>,
}

impl Lookups {
    fn new(routes: usize) -> Outcome<Self> {
        let revision = revision("lookup", (0..routes).map(|number| format!("{}/{{id}}", location(number))))?;
        let paths = (0..MANY_ROUTES).map(|number| {
            // A step coprime to the number of routes visits each of them.
            let target = number * 7_919 % MANY_ROUTES;
            format!("{}/{target}", location(target % routes))
        });
        Ok(Self { revision, paths: paths.collect() })
    }

    fn measure(&self) -> Outcome<f64> {
        let began = Instant::now();
        for path in &self.paths {
            let RouteOutcome::Script(_) = black_box(self.revision.route("GET", path)) else {
                return Err(format!("{path} matches no route").into());
            };
        }
        Ok(nanoseconds(began.elapsed(), self.paths.len()))
    }
}

fn location(number: usize) -> String {
    format!("/area-{}/location-{number}", number % 100)
}

/// A table of apps with one small revision each.
fn filled(apps: usize) -> Outcome<LiveTable> {
    let table = LiveTable::new(MemoryBudget::unbounded());
    for number in 0..apps {
        let name = format!("app-{number}");
        table.replace(&AppName::new(&name)?, Branch::production("main"), small(&name)?, 1);
    }
    Ok(table)
}

/// The cost of replacing an app's live revision. The same number of apps is swapped in the small and in the
/// large table, so that the tables are compared and not their cache footprint.
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

/// The cost of the first revision of a new app.
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
        routes.push(Route {
            path: RoutePath::parse(&path)?,
            methods,
            script: script.clone(),
            limits: RouteLimits::default(),
        });
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
        checks: Vec::new(),
    };
    let identity = AppIdentity { id: Uuid::from_u128(1), name: AppName::new(app)? };
    let sources = BTreeMap::from([(script, Arc::new(Source::new("42\n")))]);
    Ok(Revision::new(identity, "0".repeat(40), manifest, sources, None)?)
}
