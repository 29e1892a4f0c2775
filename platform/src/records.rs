//! What is remembered of executions: which ran, what they logged, and how to follow that.

use manifest_schema::execution::TriggerKind;
use store::{ExecutionFilter, Part, Store};
use uuid::Uuid;

use crate::executor::Holder;
use crate::memory::MemoryBudget;
use crate::page::{Page, PageRequest};
use crate::recording::tail::Tail;
use crate::recording::{FollowError, Followers};
use crate::revision::{LoadError, Prepared};

pub use store::{App, ExecutionRecord, FailureRecord, LineFilter, LineRecord, PlaceRecord, StoreError};

/// The most lines that one execution has, and about how many bytes of them are read.
const LINES_MAX: u32 = 1001;
const LINES_BYTES_MAX: u64 = 1 << 20;

/// About how many bytes of lines a page has.
const PAGE_BYTES_MAX: u64 = 1 << 20;

/// Reads records. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Records {
    store: Store,
    memory: MemoryBudget,
    followers: Followers,
}

/// Which executions.
#[derive(Clone, Debug, Default)]
pub struct Executions {
    /// Those of deploys of this branch that are still known.
    pub branch: Option<String>,
    /// Those of this script.
    pub script: Option<String>,
    /// Those that this started.
    pub trigger: Option<TriggerKind>,
    /// Those that failed.
    pub failed: bool,
}

/// An execution with all that is known of it.
#[derive(Clone, Debug)]
pub struct WholeExecution {
    /// The execution.
    pub record: ExecutionRecord,
    /// What it logged.
    pub lines: Vec<LineRecord>,
    /// The line of the source where it failed, as its commit has it.
    pub source: Option<String>,
}

/// Where a tail begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailFrom {
    /// Behind the record of this number.
    Record(u64),
    /// So many lines before the end.
    LastLines(u32),
}

impl Records {
    /// The records in `store`. What is told to those who follow an app is counted in its memory.
    pub fn new(store: Store, memory: MemoryBudget) -> Self {
        Self { store, memory, followers: Followers::default() }
    }

    /// The executions of an app, the latest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn executions(
        &self,
        app: &App,
        which: Executions,
        page: PageRequest<u64>,
    ) -> Result<Page<ExecutionRecord, u64>, StoreError> {
        let Executions { branch, script, trigger, failed } = which;
        let filter = ExecutionFilter { branch, script, trigger, failed, before: page.cursor };
        let found = self.store.executions(app.id, &filter, page.limit).await?;
        Ok(Page::of(found, page.limit, |found| Some(found.last()?.number)).map(|found| found.record))
    }

    /// One execution of an app. `None`: it is not remembered.
    ///
    /// # Errors
    /// The store failed.
    pub async fn execution(&self, app: &App, id: Uuid) -> Result<Option<WholeExecution>, StoreError> {
        let Some(record) = self.store.execution(app.id, id).await? else { return Ok(None) };
        let filter = LineFilter { execution: Some(id), ..LineFilter::default() };
        let lines = self.store.lines(app.id, &filter, Part::Latest, LINES_MAX, LINES_BYTES_MAX).await?;
        let source = match self.source_line(app, &record).await {
            Ok(source) => source,
            Err(LoadError::Store(error)) => return Err(error),
            Err(error) => {
                tracing::warn!(app = %app.name, commit = %record.commit, %error, "a source line cannot be read");
                None
            }
        };
        let lines = lines.into_iter().map(|line| line.record).collect();
        Ok(Some(WholeExecution { record, lines, source }))
    }

    async fn source_line(&self, app: &App, record: &ExecutionRecord) -> Result<Option<String>, LoadError> {
        let Some(place) = record.failure.as_ref().and_then(|failure| failure.place.as_ref()) else {
            return Ok(None);
        };
        let text = Prepared::file(&self.store, app, record.commit, &place.script).await?;
        let at = (place.line as usize).saturating_sub(1);
        Ok(text.and_then(|text| text.lines().nth(at).map(str::to_owned)))
    }

    /// The latest lines of an app, the oldest of them first; the next page has those before them.
    ///
    /// # Errors
    /// The store failed.
    pub async fn lines(
        &self,
        app: &App,
        filter: &LineFilter,
        page: PageRequest<u64>,
    ) -> Result<Page<LineRecord, u64>, StoreError> {
        let part = page.cursor.map_or(Part::Latest, Part::Before);
        let lines = self.store.lines(app.id, filter, part, page.limit, PAGE_BYTES_MAX).await?;
        let bytes: u64 = lines.iter().map(|line| line.record.bytes() as u64).sum();
        // A page that is full in bytes is as full as one of so many lines.
        let limit = if bytes < PAGE_BYTES_MAX { page.limit } else { 1 };
        Ok(Page::of(lines, limit, |lines| Some(lines.first()?.number)).map(|line| line.record))
    }

    /// Follows the lines of an app as they come in.
    ///
    /// # Errors
    /// There is no place for one more, or the store failed.
    pub async fn follow(
        &self,
        app: &App,
        filter: LineFilter,
        from: TailFrom,
        holder: &Holder,
    ) -> Result<Tail, FollowError> {
        let from = match from {
            TailFrom::Record(number) => number,
            TailFrom::LastLines(count) => {
                let earlier = match count {
                    0 => Vec::new(),
                    count => self.store.lines(app.id, &filter, Part::Latest, count, PAGE_BYTES_MAX).await?,
                };
                let last = self.store.last_record().await?;
                earlier.first().map_or(last, |first| first.number - 1)
            }
        };
        let account = self.memory.account(app.id);
        Tail::new(self.store.clone(), &self.followers, holder, account, app.id, filter, from)
    }
}
