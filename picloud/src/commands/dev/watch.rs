//! What changes in a folder, told once it has settled: one save is often several steps on disk, and many saves are one.
//!
//! Each folder is watched by itself, so that what nobody reads (`.git`, `target`, `node_modules`) costs no watches. Where the
//! system grants no more of them, the folder is looked at every now and then instead.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Config, ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

/// Nothing changes for so long: it has settled.
const QUIET: Duration = Duration::from_millis(4);

/// A storm of changes is looked into after this, whether it is over or not.
const STORM_MAX: Duration = Duration::from_millis(250);

/// How often a folder is looked at that cannot be watched, or is not there.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(300);

/// What the system has to say.
enum News {
    /// Something is different.
    Changed,
    /// What was here is gone, or goes by another name now.
    Gone(PathBuf),
}

/// The folders that are watched.
pub(super) struct Watch {
    watcher: Result<RecommendedWatcher, notify::Error>,
    watched: BTreeSet<PathBuf>,
    news: Receiver<News>,
    /// Kept, so that waiting for news never ends by itself.
    _teller: Sender<News>,
    /// Why folders are looked at instead.
    trouble: Option<notify::Error>,
}

impl Watch {
    /// Watches nothing yet.
    pub(super) fn new() -> Self {
        let (teller, news) = channel();
        let tell = teller.clone();
        let watcher = RecommendedWatcher::new(move |event| hear(event, &tell), Config::default());
        Self { watcher, watched: BTreeSet::new(), news, _teller: teller, trouble: None }
    }

    /// Watches just these folders, and says whether one of them was not watched before: something may have changed in it that
    /// nobody saw.
    pub(super) fn follow(&mut self, folders: &[PathBuf]) -> bool {
        let wanted: BTreeSet<PathBuf> = folders.iter().cloned().collect();
        let watcher = match &mut self.watcher {
            Ok(watcher) => watcher,
            Err(error) => {
                self.trouble = Some(match error.kind {
                    ErrorKind::MaxFilesWatch => notify::Error::new(ErrorKind::MaxFilesWatch),
                    _ => notify::Error::generic(&error.to_string()),
                });
                return false;
            }
        };
        for gone in self.watched.difference(&wanted) {
            // One that is not there any more is not watched any more either.
            let _ = watcher.unwatch(gone);
        }
        self.watched.retain(|folder| wanted.contains(folder));
        self.trouble = None;
        let mut new = false;
        for folder in wanted.difference(&self.watched.clone()) {
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(folder.clone());
                    new = true;
                }
                // It went away since it was read, and whoever watches the folder around it knows.
                Err(error) if is_absent(&error) => {}
                Err(error) => self.trouble = Some(error),
            }
        }
        new
    }

    /// Nothing is watched any more.
    pub(super) fn forget(&mut self) {
        self.follow(&[]);
    }

    /// Why folders cannot be watched and are looked at instead.
    pub(super) fn trouble(&self) -> Option<&notify::Error> {
        self.trouble.as_ref()
    }

    /// Waits until something has changed and settled, and says when the last change came. Where nothing is watched, it waits
    /// until it is time to look.
    pub(super) fn wait(&mut self) -> Instant {
        let first = if self.trouble.is_some() || self.watched.is_empty() {
            self.news.recv_timeout(LOOK_EVERY)
        } else {
            self.news.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        let Ok(first) = first else { return Instant::now() };
        self.note(first);
        let (began, mut last) = (Instant::now(), Instant::now());
        while began.elapsed() < STORM_MAX {
            match self.news.recv_timeout(QUIET) {
                Ok(news) => self.note(news),
                Err(_) => break,
            }
            last = Instant::now();
        }
        last
    }

    /// Whether nothing changes for `time`.
    pub(super) fn is_quiet_for(&mut self, time: Duration) -> bool {
        match self.news.recv_timeout(time) {
            Ok(news) => {
                self.note(news);
                false
            }
            Err(_) => true,
        }
    }

    /// A folder that has gone is not watched any more, even if another one takes its name.
    fn note(&mut self, news: News) {
        if let News::Gone(path) = news
            && self.watched.remove(&path)
            && let Ok(watcher) = &mut self.watcher
        {
            let _ = watcher.unwatch(&path);
        }
    }
}

fn is_absent(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// Passes on what matters. That files are read is no news: whoever looks at a folder does it.
fn hear(event: notify::Result<Event>, tell: &Sender<News>) {
    let send = |news| drop(tell.send(news));
    match event {
        Ok(Event { kind: EventKind::Access(access), .. })
            if access != AccessKind::Close(AccessMode::Write) => {}
        Ok(Event { kind: EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)), paths, .. }) => {
            paths.into_iter().for_each(|path| send(News::Gone(path)));
            send(News::Changed);
        }
        // News that were lost are a reason to look, too.
        Ok(_) | Err(_) => send(News::Changed),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_change_is_told_once_it_has_settled_and_reading_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = Watch::new();
        assert!(watch.follow(&[folder.path().to_owned()]) && !watch.follow(&[folder.path().to_owned()]));
        let file = folder.path().join("a");
        fs::write(&file, "1").unwrap();
        watch.wait();
        // A slow machine may tell the last step of a save late.
        while !watch.is_quiet_for(Duration::from_millis(50)) {}
        assert_eq!(fs::read_to_string(&file).unwrap(), "1");
        assert!(watch.is_quiet_for(Duration::from_millis(50)), "reading is no change");
    }

    #[test]
    fn a_folder_that_is_gone_is_watched_anew_when_it_is_back_and_no_trouble_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        let both = [folder.path().to_owned(), inner.clone()];
        let mut watch = Watch::new();
        watch.follow(&both);
        assert!(watch.trouble().is_none(), "what is not there need not be watched");
        for _ in 0..2 {
            fs::create_dir(&inner).unwrap();
            watch.wait();
            assert!(watch.follow(&both));
            fs::remove_dir(&inner).unwrap();
            while watch.watched.contains(&inner) {
                watch.wait();
            }
        }
    }

    #[test]
    fn what_cannot_be_watched_is_looked_at_now_and_then() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = Watch::new();
        watch.watcher = Err(notify::Error::new(ErrorKind::MaxFilesWatch));
        assert!(!watch.follow(&[folder.path().to_owned()]));
        assert!(matches!(watch.trouble().map(|error| &error.kind), Some(ErrorKind::MaxFilesWatch)));
        let began = Instant::now();
        watch.wait();
        assert!(began.elapsed() >= LOOK_EVERY);
    }
}
