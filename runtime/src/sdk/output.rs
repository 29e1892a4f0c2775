//! Results that grow while they are built: each step is charged, memory is reserved before the buffer grows, and a
//! text keeps the maximum length of texts.

use rhai::{Array, Dynamic};

use super::call::{Call, Outcome};

/// The initial capacity of a text, in bytes, and of an array, in items.
const CAPACITY_MIN: usize = 64;

/// A text.
pub(super) struct Text<'t, 'c, 'a> {
    call: &'t Call<'c, 'a>,
    text: String,
}

impl<'t, 'c, 'a> Text<'t, 'c, 'a> {
    pub(super) fn new(call: &'t Call<'c, 'a>) -> Self {
        Self { call, text: String::new() }
    }

    /// Appends `more`.
    ///
    /// # Errors
    /// The text would be too long, or the execution must stop.
    pub(super) fn push_str(&mut self, more: &str) -> Outcome<()> {
        let length = self.text.len() + more.len();
        self.call.limit_text(length)?;
        self.call.charge(1)?;
        self.call.charge_bytes(more.len())?;
        if length > self.text.capacity() {
            let capacity = length.max(2 * self.text.capacity()).max(CAPACITY_MIN);
            self.call.reserve(capacity)?;
            self.text.reserve_exact(capacity - self.text.len());
        }
        self.text.push_str(more);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    pub(super) fn push(&mut self, more: char) -> Outcome<()> {
        self.push_str(more.encode_utf8(&mut [0; 4]))
    }

    pub(super) fn finish(self) -> Dynamic {
        self.text.into()
    }
}

/// An array.
pub(super) struct Items<'t, 'c, 'a> {
    call: &'t Call<'c, 'a>,
    items: Array,
}

impl<'t, 'c, 'a> Items<'t, 'c, 'a> {
    pub(super) fn new(call: &'t Call<'c, 'a>) -> Self {
        Self { call, items: Array::new() }
    }

    /// Appends an item.
    ///
    /// # Errors
    /// The execution must stop.
    pub(super) fn push(&mut self, item: Dynamic) -> Outcome<()> {
        self.call.charge(1)?;
        if self.items.len() == self.items.capacity() {
            let more = self.items.capacity().max(CAPACITY_MIN);
            self.call.reserve((self.items.capacity() + more) * size_of::<Dynamic>())?;
            self.items.reserve_exact(more);
        }
        self.items.push(item);
        Ok(())
    }

    /// Appends a text.
    ///
    /// # Errors
    /// The execution must stop.
    pub(super) fn push_text(&mut self, text: &str) -> Outcome<()> {
        self.call.charge_bytes(text.len())?;
        self.call.reserve(text.len())?;
        self.push(text.into())
    }

    pub(super) fn finish(self) -> Dynamic {
        self.items.into()
    }
}
