//! The timer that fires, and sleeps until it has to.
//!
//! tokio-cron-scheduler asks its storage every 500 ms which of its jobs are due, and runs those. Here it has one job, and a
//! storage that answers only when the [`Alarm`] has come: so it polls nothing, and fires on time.

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

/// The clock can be set during a sleep, which does not notice. So no sleep takes longer than this.
const SLEEP_MAX: Duration = Duration::from_secs(20);

/// How many messages the crate's own channels hold. There is one job, which fires twice a second at most.
const CHANNEL_SIZE: usize = 16;

/// The expression of the one job. It is never looked at, since the storage says when the job is due.
const ANY: &str = "* * * * * *";

/// When to fire next.
#[derive(Clone, Debug, Default)]
pub(super) struct Alarm {
    set: watch::Sender<Option<Planned>>,
    clock: Clock,
}

/// A time, and how often the clock had jumped when it was planned.
type Planned = (DateTime<Utc>, u64);

impl Alarm {
    /// An alarm that is not set.
    pub(super) fn new(clock: Clock) -> Self {
        Self { set: watch::Sender::default(), clock }
    }

    /// Fires at `time`, and not before; never where there is none. Where the clock jumps after it was planned, at once.
    pub(super) fn set(&self, time: Option<Planned>) {
        self.set.send_if_modified(|set| std::mem::replace(set, time) != time);
    }

    /// When it will fire.
    #[cfg(test)]
    pub(super) fn time(&self) -> Option<DateTime<Utc>> {
        self.set.borrow().map(|(time, _)| time)
    }

    /// Waits until the time has come, whatever it is set to meanwhile; or until the clock has jumped, and what it was set to says
    /// nothing any more.
    async fn come(mut set: watch::Receiver<Option<Planned>>, clock: Clock) {
        loop {
            let planned = *set.borrow_and_update();
            if planned.is_some_and(|(_, jumps)| jumps != clock.look()) {
                return;
            }
            let left = planned.map(|(time, _)| (time - clock.now()).to_std().unwrap_or_default());
            let gone = match left {
                Some(Duration::ZERO) => return,
                Some(left) => tokio::select! {
                    () = tokio::time::sleep(left.min(SLEEP_MAX)) => false,
                    changed = set.changed() => changed.is_err(),
                },
                None => set.changed().await.is_err(),
            };
            if gone {
                // Nobody can set it any more.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Starts a timer that calls `fire` whenever the alarm has come. Until `fire` has set it anew, it is called twice a second.
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
    timer.add(Job::new_async(ANY, move |_, _| fire())?).await?;
    timer.start().await?;
    Ok(timer)
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, JobSchedulerError>> + Send>>;

/// The crate's own storage, but for when jobs are due.
struct Storage {
    jobs: SimpleMetadataStore,
    alarm: Alarm,
}

impl MetaDataStorage for Storage {
    fn list_next_ticks(&mut self) -> Answer<Vec<JobAndNextTick>> {
        let come = Alarm::come(self.alarm.set.subscribe(), self.alarm.clock.clone());
        let jobs = self.jobs.list_next_ticks();
        Box::pin(async move {
            come.await;
            let mut jobs = jobs.await?;
            for job in &mut jobs {
                // Long ago, and for the first time: due.
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
    ) -> Answer<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn time_till_next_job(&mut self) -> Answer<Option<Duration>> {
        self.jobs.time_till_next_job()
    }
}

impl DataStore<JobStoredData> for Storage {
    fn get(&mut self, id: Uuid) -> Answer<Option<JobStoredData>> {
        self.jobs.get(id)
    }

    fn add_or_update(&mut self, data: JobStoredData) -> Answer<()> {
        self.jobs.add_or_update(data)
    }

    fn delete(&mut self, id: Uuid) -> Answer<()> {
        self.jobs.delete(id)
    }
}

impl InitStore for Storage {
    fn init(&mut self) -> Answer<()> {
        self.jobs.init()
    }

    fn inited(&mut self) -> Answer<bool> {
        self.jobs.inited()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn it_fires_when_the_alarm_has_come_and_not_before() {
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
    async fn an_alarm_that_is_set_forward_fires_forward() {
        let alarm = Alarm::default();
        alarm.set(Some((Utc::now() + Duration::from_secs(3600), 0)));
        let come = tokio::spawn(Alarm::come(alarm.set.subscribe(), alarm.clock.clone()));
        alarm.set(Some((Utc::now(), 0)));
        tokio::time::timeout(Duration::from_secs(10), come).await.unwrap().unwrap();
    }
    #[tokio::test]
    async fn an_alarm_that_was_planned_before_the_clock_jumped_fires_at_once() {
        let alarm = Alarm::default();
        // Somebody else has noticed the jump already.
        alarm.clock.database_says(Utc::now());
        alarm.set(Some((Utc::now() + Duration::from_secs(3600), 0)));
        let come = Alarm::come(alarm.set.subscribe(), alarm.clock.clone());
        tokio::time::timeout(Duration::from_secs(10), come).await.unwrap();
    }
}
