//! The state of an app, for one execution at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use runtime::{ChangeMark, KvChange, KvError, KvKey, KvList, KvNumber, KvValue, VALUE_BYTES_MAX};
use serde_json::{Number, Value};

/// What one execution can read and write, as the server limits it.
const READ_KEYS_MAX: u64 = 10_000;
const READ_BYTES_MAX: u64 = 16 * 1024 * 1024;
const WRITES_MAX: u64 = 5000;
const WRITE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A value, and how long its key exists.
pub(crate) type Entry = (KvValue, Option<Duration>);

/// The keys with their values, and what an execution did with them.
#[derive(Debug, Default)]
pub(crate) struct TestState {
    pub(crate) entries: BTreeMap<KvKey, Entry>,
    /// The changes that were not undone.
    pub(crate) changes: Vec<(KvKey, KvChange)>,
    /// What each change replaced.
    replaced: Vec<Option<Entry>>,
    read_keys: u64,
    read_bytes: u64,
    write_bytes: u64,
}

impl TestState {
    pub(crate) fn get(&mut self, keys: &[KvKey]) -> Result<Vec<Option<KvValue>>, KvError> {
        keys.iter()
            .map(|key| {
                let value = self.entries.get(key).map(|(value, _)| value.clone());
                self.count_read(value.as_ref())?;
                Ok(value)
            })
            .collect()
    }

    pub(crate) fn list(&mut self, list: &KvList) -> Result<Vec<(KvKey, KvValue)>, KvError> {
        let of_list = |key: &KvKey| {
            let key = key.as_str();
            key.starts_with(&list.prefix)
                && list.after.as_deref().is_none_or(|after| key > after)
                && list.before.as_deref().is_none_or(|before| key < before)
        };
        let entries = self.entries.iter().filter(|(key, _)| of_list(key));
        let mut entries: Vec<_> = entries.map(|(key, (value, _))| (key.clone(), value.clone())).collect();
        if list.reverse {
            entries.reverse();
        }
        entries.truncate(usize::try_from(list.limit).unwrap());
        entries.iter().try_for_each(|(_, value)| self.count_read(Some(value)))?;
        Ok(entries)
    }

    fn count_read(&mut self, value: Option<&KvValue>) -> Result<(), KvError> {
        self.read_keys += 1;
        self.read_bytes += value.map_or(0, |value| value.bytes().len() as u64);
        match () {
            () if self.read_keys > READ_KEYS_MAX => Err(KvError::ReadKeys(READ_KEYS_MAX)),
            () if self.read_bytes > READ_BYTES_MAX => Err(KvError::ReadBytes(READ_BYTES_MAX)),
            () => Ok(()),
        }
    }

    pub(crate) fn change(&mut self, key: &KvKey, change: KvChange) -> Result<(), KvError> {
        let after = applied(key, self.entries.get(key), &change)?;
        let bytes = key.as_str().len() + after.as_ref().map_or(0, |(value, _)| value.bytes().len());
        if self.changes.len() as u64 >= WRITES_MAX {
            return Err(KvError::Writes(WRITES_MAX));
        }
        self.write_bytes += bytes as u64;
        if self.write_bytes > WRITE_BYTES_MAX {
            return Err(KvError::WriteBytes(WRITE_BYTES_MAX));
        }
        self.changes.push((key.clone(), change));
        let before = self.restore(key, after);
        self.replaced.push(before);
        Ok(())
    }

    fn restore(&mut self, key: &KvKey, entry: Option<Entry>) -> Option<Entry> {
        match entry {
            Some(entry) => self.entries.insert(key.clone(), entry),
            None => self.entries.remove(key),
        }
    }

    pub(crate) fn mark(&self) -> ChangeMark {
        ChangeMark(self.changes.len())
    }

    pub(crate) fn undo(&mut self, mark: ChangeMark) {
        while self.changes.len() > mark.0 {
            let (Some((key, _)), Some(before)) = (self.changes.pop(), self.replaced.pop()) else { return };
            self.restore(&key, before);
        }
    }

    /// The value of a key as text: the JSON, or the bytes of a blob.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        let (value, _) = self.entries.get(&KvKey::new(key).unwrap())?;
        Some(String::from_utf8_lossy(value.bytes()).into_owned())
    }

    /// How long a key exists.
    pub(crate) fn ttl(&self, key: &str) -> Option<Duration> {
        self.entries.get(&KvKey::new(key).unwrap())?.1
    }
}

/// The entry after a change.
fn applied(key: &KvKey, before: Option<&Entry>, change: &KvChange) -> Result<Option<Entry>, KvError> {
    let kept = |ttl: &Option<Duration>| ttl.or(before.and_then(|(_, ttl)| *ttl));
    let json = match before {
        None => None,
        Some((KvValue::Json(json), _)) => Some(serde_json::from_slice(json).unwrap()),
        Some((KvValue::Blob(_), _)) => Some(Value::Null),
    };
    Ok(match change {
        KvChange::Delete => None,
        KvChange::Set { value, ttl } => Some((value.clone(), *ttl)),
        KvChange::Restore { .. } => unreachable!("scripts restore nothing"),
        KvChange::Add { number, ttl } => {
            let Value::Number(before) = json.unwrap_or(Value::from(0)) else {
                return Err(KvError::NoNumber(key.clone()));
            };
            Some((to_json(&Value::Number(sum(key, &before, *number)?)), kept(ttl)))
        }
        KvChange::Append { item, keep, ttl } => {
            let Value::Array(mut items) = json.unwrap_or(Value::Array(Vec::new())) else {
                return Err(KvError::NoArray(key.clone()));
            };
            items.push(serde_json::from_slice(item).unwrap());
            let kept_items = keep.map_or(usize::MAX, |keep| usize::try_from(keep).unwrap());
            items.drain(..items.len().saturating_sub(kept_items));
            let value = to_json(&Value::Array(items));
            if value.bytes().len() > VALUE_BYTES_MAX {
                return Err(KvError::TooLarge { key: key.clone(), bytes: value.bytes().len() });
            }
            Some((value, kept(ttl)))
        }
    })
}

fn sum(key: &KvKey, before: &Number, number: KvNumber) -> Result<Number, KvError> {
    if let (Some(before), KvNumber::Integer(number)) = (before.as_i64(), number) {
        let sum = before.checked_add(number).ok_or_else(|| KvError::Overflow(key.clone()))?;
        return Ok(sum.into());
    }
    let number = match number {
        KvNumber::Integer(number) => number as f64,
        KvNumber::Float(number) => number,
    };
    let sum = before.as_f64().unwrap() + number;
    Number::from_f64(sum).ok_or_else(|| KvError::Overflow(key.clone()))
}

fn to_json(value: &Value) -> KvValue {
    KvValue::Json(Bytes::from(serde_json::to_vec(value).unwrap()))
}
