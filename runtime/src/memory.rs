//! Counts the memory of each thread, so that the memory of a script can be limited while it runs.
//!
//! [`CountingAllocator`] is mimalloc with counters per thread: an execution allocates and frees some tens of small
//! values, which takes mimalloc a fraction of the time of the system allocator. An execution stays on one thread, so
//! the difference of two readings on that thread is its memory. The binary installs the allocator:
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: runtime::CountingAllocator = runtime::CountingAllocator;
//! # fn main() {}
//! ```
//!
//! Without it every reading is zero and the memory limit has no effect; nothing else changes.
#![expect(
    unsafe_code,
    reason = "an allocator is unsafe to implement; it only forwards to mimalloc and the system, and counts"
)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::{c_int, c_long};
use std::ops::Deref;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc, mi_zalloc_aligned,
};
use rhai::Dynamic;

use crate::bounded::{ARRAY_MAX, STRING_MAX};

unsafe extern "C" {
    // Functions of mimalloc. Its bindings would add a package of C types.
    safe fn mi_collect(force: bool);
    safe fn mi_option_set_default(option: c_int, value: c_long);
}

/// `mi_option_purge_delay`: how long freed memory is kept for reuse, in milliseconds.
const PURGE_DELAY: c_int = 15;

/// The default of mimalloc 3 is one second. If large values come and go on many threads, as much memory as the node
/// has is freed in that time, because each thread allocates from its own memory first.
const PURGE_DELAY_MILLIS: c_long = 10;

/// mimalloc, and mappings for large blocks, with counters per thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingAllocator;

impl CountingAllocator {
    /// The bytes that the calling thread allocated and did not free; negative if it frees memory of other threads.
    /// Zero if this is not the global allocator.
    pub fn allocated_bytes() -> i64 {
        thread_memory().bytes
    }

    /// Runs `work` on this thread and returns the largest number of bytes that it held at once.
    pub fn peak_bytes<T>(work: impl FnOnce() -> T) -> (T, u64) {
        let before = thread_memory().bytes;
        let around = begin_peak();
        let done = work();
        let peak = end_peak(around);
        (done, u64::try_from(peak.saturating_sub(before)).unwrap_or(0))
    }

    /// Returns freed memory to the system within milliseconds, while allocations continue. Call it at the start.
    /// `MIMALLOC_PURGE_DELAY` in the environment takes precedence.
    pub fn set_purge_delay() {
        mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MILLIS);
    }

    /// Returns freed memory to the system now. By default mimalloc only does so on allocations, which an idle node
    /// never makes. Each thread must purge its own memory: this one now, the others before they sleep, in
    /// [`Self::purge_if_requested`].
    pub fn purge() {
        PURGE_REQUESTS.fetch_add(1, Ordering::Relaxed);
        Self::purge_if_requested();
    }

    /// Purges the memory of this thread, once per call of [`Self::purge`].
    pub fn purge_if_requested() {
        let requests = PURGE_REQUESTS.load(Ordering::Relaxed);
        if PURGES_DONE.replace(requests) != requests {
            mi_collect(false);
        }
    }
}

/// The number of requested purges.
static PURGE_REQUESTS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The number of requests that this thread has seen.
    static PURGES_DONE: Cell<u64> = const { Cell::new(0) };
}

/// The allocations of a thread minus its frees. Negative if the thread frees memory of other threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ThreadMemory {
    /// Bytes.
    pub(crate) bytes: i64,
    /// The number of allocations.
    pub(crate) blocks: i64,
}

struct ThreadCounters {
    bytes: Cell<i64>,
    blocks: Cell<i64>,
    peak: Cell<i64>,
    /// Whether a block was allocated that is larger than any valid value.
    oversized: Cell<bool>,
}

thread_local! {
    // Constant and without a destructor, so that access never allocates and works while a thread ends.
    static COUNTERS: ThreadCounters = const {
        ThreadCounters {
            bytes: Cell::new(0),
            blocks: Cell::new(0),
            peak: Cell::new(0),
            oversized: Cell::new(false),
        }
    };
}

/// The memory of this thread.
pub(crate) fn thread_memory() -> ThreadMemory {
    COUNTERS.with(|counters| ThreadMemory { bytes: counters.bytes.get(), blocks: counters.blocks.get() })
}

/// Begins a measurement of the peak. Returns the peak of the outer measurement, for [`end_peak`].
pub(crate) fn begin_peak() -> i64 {
    COUNTERS.with(|counters| counters.peak.replace(counters.bytes.get()))
}

/// The peak of this thread since [`begin_peak`]. The outer measurement continues.
pub(crate) fn end_peak(around: i64) -> i64 {
    COUNTERS.with(|counters| {
        let peak = counters.peak.get();
        counters.peak.set(peak.max(around));
        peak
    })
}

/// Whether this thread allocated a block since the last call that is larger than any valid value.
///
/// Collections grow ahead, into blocks of up to twice their length. A block of twice the maximum length of a string
/// or a blob therefore proves that one is too long, at no cost, whatever created it.
pub(crate) fn take_oversized() -> bool {
    COUNTERS.with(|counters| counters.oversized.replace(false))
}

/// Records an oversized block, by its kind: strings and blobs have no alignment, arrays have that of their values.
#[cold]
fn note_oversized(size: usize, align: usize) {
    let most =
        if align < NATURAL_ALIGN { STRING_MAX } else { ARRAY_MAX.saturating_mul(size_of::<Dynamic>()) };
    if size >= 2 * most {
        let _ = COUNTERS.try_with(|counters| counters.oversized.set(true));
    }
}

/// Runs `work`, which belongs to the server and not to the script, without counting its allocations.
pub(crate) fn uncounted<T>(work: impl FnOnce() -> T) -> T {
    COUNTERS.with(|counters| {
        let (bytes, blocks, peak) = (counters.bytes.get(), counters.blocks.get(), counters.peak.get());
        let oversized = counters.oversized.get();
        let done = work();
        counters.oversized.set(oversized);
        counters.bytes.set(bytes);
        counters.blocks.set(blocks);
        counters.peak.set(peak);
        done
    })
}

/// A value that passes between a script and its host, which can keep it: its memory is not that of the script.
pub(crate) struct OfHost<T>(Option<T>);

impl<T> OfHost<T> {
    /// Builds a value for the host.
    pub(crate) fn new(build: impl FnOnce() -> T) -> Self {
        Self(Some(uncounted(build)))
    }

    /// A value from the host.
    pub(crate) fn from_host(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T, E> OfHost<Result<T, E>> {
    pub(crate) fn transpose(mut self) -> Result<OfHost<T>, E> {
        match self.0.take() {
            Some(result) => result.map(OfHost::from_host),
            None => unreachable!("only dropping takes the value"),
        }
    }
}

impl<T> Deref for OfHost<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.0 {
            Some(value) => value,
            None => unreachable!("only dropping takes the value"),
        }
    }
}

impl<T> Drop for OfHost<T> {
    fn drop(&mut self) {
        let value = self.0.take();
        uncounted(|| drop(value));
    }
}

/// Counts a new block of this size and alignment.
fn count_new(size: usize, align: usize) {
    count(size as i64, 1);
    if size >= 2 * STRING_MAX {
        note_oversized(size, align);
    }
}

fn count(bytes: i64, blocks: i64) {
    let _ = COUNTERS.try_with(|counters| {
        let held = counters.bytes.get().wrapping_add(bytes);
        counters.bytes.set(held);
        counters.blocks.set(counters.blocks.get().wrapping_add(blocks));
        if held > counters.peak.get() {
            counters.peak.set(held);
        }
    });
}

/// The alignment of every block of at least this size, in bytes: a machine word, as with any `malloc`.
const NATURAL_ALIGN: usize = size_of::<usize>();

/// Whether mimalloc can use its faster path without an explicit alignment.
fn is_naturally_aligned(size: usize, align: usize) -> bool {
    align <= NATURAL_ALIGN && align <= size
}

fn alloc_small(size: usize, align: usize) -> *mut u8 {
    let block = if is_naturally_aligned(size, align) {
        // SAFETY: any size is allowed.
        unsafe { mi_malloc(size) }
    } else {
        // SAFETY: any size is allowed; the alignment of a layout is a power of two.
        unsafe { mi_malloc_aligned(size, align) }
    };
    block.cast()
}

fn alloc_small_zeroed(size: usize, align: usize) -> *mut u8 {
    let block = if is_naturally_aligned(size, align) {
        // SAFETY: any size is allowed.
        unsafe { mi_zalloc(size) }
    } else {
        // SAFETY: any size is allowed; the alignment of a layout is a power of two.
        unsafe { mi_zalloc_aligned(size, align) }
    };
    block.cast()
}

// SAFETY: a block that is not large is forwarded to mimalloc with unchanged arguments, except for an alignment that
// each of its blocks of that size has. A large block is a mapping of its own, or belongs to mimalloc if `large`
// reports so. The size decides between the two, and a block is freed with its own size. Counting only touches plain
// cells of the calling thread, and neither allocates nor unwinds. Sizes are at most `isize::MAX`, so casts keep their
// value.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        let block = if large::is_large(size, align) { large::map(size) } else { ptr::null_mut() };
        let block = if block.is_null() { alloc_small(size, align) } else { block };
        if !block.is_null() {
            count_new(size, align);
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        let block = if large::is_large(size, align) { large::map(size) } else { ptr::null_mut() };
        let block = if block.is_null() { alloc_small_zeroed(size, align) } else { block };
        if !block.is_null() {
            count_new(size, align);
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if large::is_large(layout.size(), layout.align()) && !large::is_from_mimalloc(block) {
            // SAFETY: the caller frees a block of this allocator and of this size, which is a mapping.
            unsafe { large::unmap(block, layout.size()) };
        } else {
            // SAFETY: the caller frees a block of this allocator, which belongs to mimalloc.
            unsafe { mi_free(block.cast()) };
        }
        count(-(layout.size() as i64), -1);
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let align = layout.align();
        let (was_large, is_large) = (large::is_large(layout.size(), align), large::is_large(size, align));
        let resized = if !was_large && !is_large {
            if is_naturally_aligned(size, align) {
                // SAFETY: the caller passes a block of this allocator, which belongs to mimalloc.
                unsafe { mi_realloc(block.cast(), size) }.cast()
            } else {
                // SAFETY: as above; a layout's alignment is a power of two.
                unsafe { mi_realloc_aligned(block.cast(), size, align) }.cast()
            }
        } else if was_large && is_large && !large::is_from_mimalloc(block) {
            // SAFETY: the caller passes a block of this allocator and of that size, which is a mapping.
            unsafe { large::resize(block, layout.size(), size) }
        } else {
            ptr::null_mut()
        };
        if !resized.is_null() {
            count(size as i64 - layout.size() as i64, 0);
            if size >= 2 * STRING_MAX {
                note_oversized(size, align);
            }
            return resized;
        }
        // Copies a block that becomes large or small, or for which the system has no mapping.
        // SAFETY: the caller guarantees that both sizes are valid for a layout. Both blocks contain the copied range.
        unsafe {
            let copied = self.alloc(Layout::from_size_align_unchecked(size, align));
            if !copied.is_null() {
                ptr::copy_nonoverlapping(block, copied, size.min(layout.size()));
                self.dealloc(block, layout);
            }
            copied
        }
    }
}

/// Large blocks. Each is a mapping of its own (mmap(2)): it returns to the system as soon as it is freed, grows
/// without a copy and wastes no other memory. mimalloc cuts blocks of up to 512 KiB from slices of 4 MiB, and each
/// thread has some for each size: one used block keeps its whole slice resident.
#[cfg(target_os = "linux")]
mod large {
    use std::ffi::c_void;
    use std::ptr;

    use rustix::mm::{Advice, MapFlags, MremapFlags, ProtFlags, madvise, mmap_anonymous, mremap, munmap};

    unsafe extern "C" {
        // A function of mimalloc. It only looks up whether the address belongs to its memory.
        safe fn mi_is_in_heap_region(block: *const c_void) -> bool;
    }

    /// The same threshold as in the system allocator. A mapping costs as much as writing some tens of kilobytes.
    pub(super) const LARGE_MIN: usize = 128 * 1024;

    /// The minimum alignment of mappings on every system.
    const ALIGN_MAX: usize = 4096;

    pub(super) fn is_large(size: usize, align: usize) -> bool {
        size >= LARGE_MIN && align <= ALIGN_MAX
    }

    /// Whether a large block belongs to mimalloc: the number of mappings of a process is limited.
    pub(super) fn is_from_mimalloc(block: *mut u8) -> bool {
        mi_is_in_heap_region(block.cast())
    }

    /// A zeroed block. Null if the system has no mapping for it.
    pub(super) fn map(size: usize) -> *mut u8 {
        let flags = MapFlags::PRIVATE;
        // SAFETY: a new mapping at an address chosen by the system overlaps nothing.
        let mapped =
            unsafe { mmap_anonymous(ptr::null_mut(), size, ProtFlags::READ | ProtFlags::WRITE, flags) };
        mapped.map_or(ptr::null_mut(), <*mut c_void>::cast)
    }

    /// Resizes the block, and moves it if necessary. Null if it is unchanged.
    ///
    /// # Safety
    /// The block comes from [`map`] or this function, and has that size.
    pub(super) unsafe fn resize(block: *mut u8, old: usize, new: usize) -> *mut u8 {
        // SAFETY: only the block uses the mapping; the caller no longer uses the old address.
        let moved = unsafe { mremap(block.cast(), old, new, MremapFlags::MAYMOVE) };
        moved.map_or(ptr::null_mut(), <*mut c_void>::cast)
    }

    /// Frees a block.
    ///
    /// # Safety
    /// As for [`resize`].
    pub(super) unsafe fn unmap(block: *mut u8, size: usize) {
        // SAFETY: only the block uses the mapping, and it is no longer in use.
        unsafe {
            // The system merges mappings. At the maximum number it cannot split one, but it can still free the pages.
            if munmap(block.cast(), size).is_err() {
                let _ = madvise(block.cast(), size, Advice::LinuxDontNeed);
            }
        }
    }
}

/// On other systems mimalloc allocates every block.
#[cfg(not(target_os = "linux"))]
mod large {
    use std::ptr;

    pub(super) fn is_large(_size: usize, _align: usize) -> bool {
        false
    }

    pub(super) fn is_from_mimalloc(_block: *mut u8) -> bool {
        true
    }

    pub(super) fn map(_size: usize) -> *mut u8 {
        ptr::null_mut()
    }

    pub(super) unsafe fn resize(_block: *mut u8, _old: usize, _new: usize) -> *mut u8 {
        ptr::null_mut()
    }

    pub(super) unsafe fn unmap(_block: *mut u8, _size: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" {
        safe fn mi_option_get(option: c_int) -> c_long;
    }

    #[test]
    fn purge_delay_is_the_option_with_that_number() {
        assert_eq!(mi_option_get(PURGE_DELAY), 1000, "the default of mimalloc");
        CountingAllocator::set_purge_delay();
        assert_eq!(mi_option_get(PURGE_DELAY), PURGE_DELAY_MILLIS);
    }

    #[test]
    fn resized_blocks_keep_their_contents() {
        const KIB: usize = 1024;
        let allocator = CountingAllocator;
        let sizes = [1, 100, 127 * KIB, 128 * KIB, 129 * KIB, 5000 * KIB, 200 * KIB, 128 * KIB, 64 * KIB, 3];
        for align in [1, 8, 64, 4096, 8192] {
            let before = thread_memory();
            let mut layout = Layout::from_size_align(sizes[0], align).unwrap();
            // SAFETY: every block is used within its size, and freed with its layout.
            unsafe {
                let mut block = allocator.alloc_zeroed(layout);
                assert_eq!(*block, 0);
                for size in sizes {
                    let kept = layout.size().min(size);
                    block.write_bytes(size as u8, layout.size());
                    let old = size as u8;
                    block = allocator.realloc(block, layout, size);
                    layout = Layout::from_size_align(size, align).unwrap();
                    assert!(block.addr().is_multiple_of(align), "{size} {align}");
                    assert!((0..kept).all(|at| *block.add(at) == old), "{size} {align}");
                    assert_eq!(thread_memory().bytes - before.bytes, size as i64);
                }
                allocator.dealloc(block, layout);
                let zeros = Layout::from_size_align(300 * KIB, align).unwrap();
                let block = allocator.alloc_zeroed(zeros);
                assert!((0..300 * KIB).all(|at| *block.add(at) == 0));
                allocator.dealloc(block, zeros);
            }
            assert_eq!(thread_memory(), before);
        }
    }
}
