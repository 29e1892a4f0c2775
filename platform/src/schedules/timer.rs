//! The timer that fires at the next due time and sleeps until then.
//!
//! tokio-cron-scheduler polls its storage every 500 ms for due jobs. Here it has one job, and a storage that
//! only responds when the [`Alarm`] fires: so it does not poll, and fires on time.

use std::pin::Pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio_cron_scheduler::job::job_data::{JobAndNextTick, JobStoredData};
use tokio_cron_scheduler::store::{DataStore, InitStore};
use tokio_cron_scheduler::{
    Job, JobScheduler, JobSchedulerError, MetaDataStorage, SimpleJobCode, SimpleMetadataStore,
    SimpleNotificationCode, SimpleNotificationStore,
};
use uuid::Uuid;

use crate::clock::Clock;

/// The maximum sleep, since the clock can be set meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(20);

/// The size of the crate's channels. There is one job, which fires at most twice a second.
const CHANNEL_SIZE: usize = 16;

/// The expression of the job, which is not evaluated: the storage decides when it is due.
const UNUSED_EXPRESSION: &str = "* * * * * *";

/// The next time to fire.
#[derive(Clone, Debug, Default)]
pub(super) struct Alarm {
    set: watch::Sender<Option<Planned>>,
    clock: Clock,
}

/// A time, and the number of clock jumps when it was planned.
type Planned = (DateTime<Utc>, u64);

impl Alarm {
    /// Creates an alarm that is not set.
    pub(super) fn new(clock: Clock) -> Self {
        Self { set: watch::Sender::default(), clock }
    }

    /// Fires at `time`; never for `None`; immediately after a clock jump.
    pub(super) fn set(&self, time: Option<Planned>) {
        self.set.send_if_modified(|set| std::mem::replace(set, time) != time);
    }

    /// When it will fire.
    #[cfg(test)]
    pub(super) fn time(&self) -> Option<DateTime<Utc>> {
        self.set.borrow().map(|(time, _)| time)
    }

    /// Waits until the alarm fires, considering later changes; or until the clock jumps, which invalidates
    /// the time.
    async fn wait(mut set: watch::Receiver<Option<Planned>>, clock: Clock) {
        loop {
            let planned = *set.borrow_and_update();
            if planned.is_some_and(|(_, jumps)| jumps != clock.poll()) {
                return;
            }
            let remaining = planned.map(|(time, _)| (time - clock.now()).to_std().unwrap_or_default());
            let is_closed = match remaining {
                Some(Duration::ZERO) => return,
                Some(remaining) => tokio::select! {
                    () = tokio::time::sleep(remaining.min(SLEEP_MAX)) => false,
                    changed = set.changed() => changed.is_err(),
                },
                None => set.changed().await.is_err(),
            };
            if is_closed {
                // The alarm was dropped.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Starts a timer that calls `fire` when the alarm fires. Until `fire` sets it again, it is called twice a
/// second.
pub(super) async fn start<F>(alarm: &Alarm, fire: F) -> Result<JobScheduler, JobSchedulerError>
where
    F: Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync + 'static,
{
    let storage = Storage { jobs: SimpleMetadataStore::default(), alarm: alarm.clone() };
    let timer = JobScheduler::new_with_storage_and_code(
        Box::new(storage),
        Box::new(SimpleNotificationStore::default()),
        Box::new(SimpleJobCode::default()),
        Box::new(SimpleNotificationCode::default()),
        CHANNEL_SIZE,
    )
    .await?;
    timer.add(Job::new_async(UNUSED_EXPRESSION, move |_, _| fire())?).await?;
    timer.start().await?;
    Ok(timer)
}

type StorageFuture<T> = Pin<Box<dyn Future<Output = Result<T, JobSchedulerError>> + Send>>;

/// The crate's in-memory storage, except for due times.
struct Storage {
    jobs: SimpleMetadataStore,
    alarm: Alarm,
}

impl MetaDataStorage for Storage {
    fn list_next_ticks(&mut self) -> StorageFuture<Vec<JobAndNextTick>> {
        let fired = Alarm::wait(self.alarm.set.subscribe(), self.alarm.clock.clone());
        let jobs = self.jobs.list_next_ticks();
        Box::pin(async move {
            fired.await;
            let mut jobs = jobs.await?;
            for job in &mut jobs {
                // In the past and never run: due.
                (job.next_tick, job.last_tick) = (1, None);
            }
            Ok(jobs)
        })
    }

    fn set_next_and_last_tick(
        &mut self,
        _: Uuid,
        _: Option<DateTime<Utc>>,
        _: Option<DateTime<Utc>>,
    ) -> StorageFuture<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn time_till_next_job(&mut self) -> StorageFuture<Option<Duration>> {
        self.jobs.time_till_next_job()
    }
}

impl DataStore<JobStoredData> for Storage {
    fn get(&mut self, id: Uuid) -> StorageFuture<Option<JobStoredData>> {
        self.jobs.get(id)
    }

    fn add_or_update(&mut self, data: JobStoredData) -> StorageFuture<()> {
        self.jobs.add_or_update(data)
    }

    fn delete(&mut self, id: Uuid) -> StorageFuture<()> {
        self.jobs.delete(id)
    }
}

impl InitStore for Storage {
    fn init(&mut self) -> StorageFuture<()> {
        self.jobs.init()
    }

    fn inited(&mut self) -> StorageFuture<bool> {
        self.jobs.inited()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn timer_fires_at_alarm_and_not_before() {
        let alarm = Alarm::default();
        let fired = Arc::new(AtomicUsize::new(0));
        let (counted, set) = (Arc::clone(&fired), alarm.clone());
        let _timer = start(&alarm, move || {
            counted.fetch_add(1, Ordering::SeqCst);
            set.set(None);
            Box::pin(std::future::ready(()))
        })
        .await
        .unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(fired.load(Ordering::SeqCst), 0, "no alarm is set");
        for times in 1..=2 {
            let due = Utc::now() + Duration::from_millis(700);
            alarm.set(Some((due, 0)));
            while fired.load(Ordering::SeqCst) < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let late = Utc::now() - due;
            assert!(
                late >= chrono::TimeDelta::zero() && late < chrono::TimeDelta::milliseconds(400),
                "{late}"
            );
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(fired.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn alarm_can_be_moved_to_earlier_time() {
        let alarm = Alarm::default();
        alarm.set(Some((Utc::now() + Duration::from_secs(3600), 0)));
        let fired = tokio::spawn(Alarm::wait(alarm.set.subscribe(), alarm.clock.clone()));
        alarm.set(Some((Utc::now(), 0)));
        tokio::time::timeout(Duration::from_secs(10), fired).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn alarm_fires_after_clock_jump() {
        let alarm = Alarm::default();
        // The jump was already detected.
        alarm.clock.set_database_time(Utc::now());
        alarm.set(Some((Utc::now() + Duration::from_secs(3600), 0)));
        let fired = Alarm::wait(alarm.set.subscribe(), alarm.clock.clone());
        tokio::time::timeout(Duration::from_secs(10), fired).await.unwrap();
    }
}
