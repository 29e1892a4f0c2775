//! Read access to execution records and logs.

use manifest_schema::execution::TriggerKind;
use store::{ExecutionFilter, LogRange, Store};
use uuid::Uuid;

use crate::executor::Holder;
use crate::memory::MemoryBudget;
use crate::page::{Page, PageRequest};
use crate::recording::tail::Tail;
use crate::recording::{FollowError, Followers};
use crate::revision::{LoadError, Prepared};

pub use store::{App, ExecutionRecord, FailureRecord, LocationRecord, LogFilter, LogRecord, StoreError};

/// The maximum lines of an execution, and about how many bytes of them are read.
const EXECUTION_LINES_MAX: u32 = 1001;
const EXECUTION_LINES_BYTES_MAX: u64 = 1 << 20;

/// The approximate maximum bytes of a page.
const PAGE_BYTES_MAX: u64 = 1 << 20;

/// Reads records. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Records {
    store: Store,
    memory: MemoryBudget,
    followers: Followers,
}

/// A query for executions.
#[derive(Clone, Debug, Default)]
pub struct ExecutionQuery {
    /// Executions of deploys of this branch that are still recorded.
    pub branch: Option<String>,
    /// Executions of this script.
    pub script: Option<String>,
    /// Executions with this trigger.
    pub trigger: Option<TriggerKind>,
    /// Only failed executions.
    pub failed: bool,
}

/// An execution with its details.
#[derive(Clone, Debug)]
pub struct ExecutionDetails {
    /// The execution.
    pub record: ExecutionRecord,
    /// Its log lines.
    pub lines: Vec<LogRecord>,
    /// The source line of its failure, from its commit.
    pub source: Option<String>,
}

/// Where a tail starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailStart {
    /// After the record with this number.
    Record(u64),
    /// This many lines before the end.
    LastLines(u32),
}

impl Records {
    /// Creates a reader of `store`. Log streams count in the memory of their apps.
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
        query: ExecutionQuery,
        page: PageRequest<u64>,
    ) -> Result<Page<ExecutionRecord, u64>, StoreError> {
        let ExecutionQuery { branch, script, trigger, failed } = query;
        let filter = ExecutionFilter { branch, script, trigger, failed, before: page.cursor };
        let found = self.store.executions(app.id, &filter, page.limit).await?;
        Ok(Page::of(found, page.limit, |found| Some(found.last()?.sequence)).map(|found| found.record))
    }

    /// One execution of an app. `None`: not found.
    ///
    /// # Errors
    /// The store failed.
    pub async fn execution(&self, app: &App, id: Uuid) -> Result<Option<ExecutionDetails>, StoreError> {
        let Some(record) = self.store.execution(app.id, id).await? else { return Ok(None) };
        let filter = LogFilter { execution: Some(id), ..LogFilter::default() };
        let lines = self
            .store
            .logs(app.id, &filter, LogRange::Latest, EXECUTION_LINES_MAX, EXECUTION_LINES_BYTES_MAX)
            .await?;
        let source = match self.source_line(app, &record).await {
            Ok(source) => source,
            Err(LoadError::Store(error)) => return Err(error),
            Err(error) => {
                tracing::warn!(app = %app.name, commit = %record.commit, %error, "cannot read a source line");
                None
            }
        };
        let lines = lines.into_iter().map(|line| line.record).collect();
        Ok(Some(ExecutionDetails { record, lines, source }))
    }

    async fn source_line(&self, app: &App, record: &ExecutionRecord) -> Result<Option<String>, LoadError> {
        let Some(location) = record.failure.as_ref().and_then(|failure| failure.location.as_ref()) else {
            return Ok(None);
        };
        let text = Prepared::file(&self.store, app, record.commit, &location.script).await?;
        let at = (location.line as usize).saturating_sub(1);
        Ok(text.and_then(|text| text.lines().nth(at).map(str::to_owned)))
    }

    /// The latest lines of an app in chronological order; the next page has the lines before them.
    ///
    /// # Errors
    /// The store failed.
    pub async fn lines(
        &self,
        app: &App,
        filter: &LogFilter,
        page: PageRequest<u64>,
    ) -> Result<Page<LogRecord, u64>, StoreError> {
        let part = page.cursor.map_or(LogRange::Latest, LogRange::Before);
        let lines = self.store.logs(app.id, filter, part, page.limit, PAGE_BYTES_MAX).await?;
        let bytes: u64 = lines.iter().map(|line| line.record.bytes() as u64).sum();
        // A page that reached the byte limit counts as full.
        let limit = if bytes < PAGE_BYTES_MAX { page.limit } else { 1 };
        Ok(Page::of(lines, limit, |lines| Some(lines.first()?.sequence)).map(|line| line.record))
    }

    /// Follows the log lines of an app.
    ///
    /// # Errors
    /// The limit of streams is reached, or the store failed.
    pub async fn follow(
        &self,
        app: &App,
        filter: LogFilter,
        from: TailStart,
        holder: &Holder,
    ) -> Result<Tail, FollowError> {
        let from = match from {
            TailStart::Record(number) => number,
            TailStart::LastLines(count) => {
                let earlier = match count {
                    0 => Vec::new(),
                    count => {
                        self.store.logs(app.id, &filter, LogRange::Latest, count, PAGE_BYTES_MAX).await?
                    }
                };
                let last = self.store.last_record_sequence().await?;
                earlier.first().map_or(last, |first| first.sequence - 1)
            }
        };
        let account = self.memory.account(app.id);
        Tail::new(self.store.clone(), &self.followers, holder, account, app.id, filter, from)
    }
}
