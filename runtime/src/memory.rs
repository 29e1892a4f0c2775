//! Counts what each thread holds, so that a script's memory can be limited while it runs.
//!
//! [`CountingAllocator`] is mimalloc with a tally for each thread: a run makes and frees some tens of small values, which
//! takes mimalloc a fraction of the time that it takes the system's allocator. A run happens on one thread from its
//! beginning to its end, so the difference between two readings on that thread is what the run holds. The binary installs
//! it:
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: runtime::CountingAllocator = runtime::CountingAllocator;
//! # fn main() {}
//! ```
//!
//! Without it every reading is zero and the memory limit cannot trip; nothing else changes.
#![expect(
    unsafe_code,
    reason = "an allocator is unsafe to implement; it only forwards to mimalloc and the system, and counts"
)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::{c_int, c_long};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc, mi_zalloc_aligned,
};
use rhai::Dynamic;

use crate::bounded::{ARRAY_MAX, STRING_MAX};

unsafe extern "C" {
    // Of mimalloc's own, whose bindings would bring a package of C's types.
    safe fn mi_collect(force: bool);
    safe fn mi_option_set_default(option: c_int, value: c_long);
}

/// `mi_option_purge_delay`: how long freed memory is kept for the next one who wants some, in milliseconds.
const PURGE_DELAY: c_int = 15;

/// mimalloc 3 keeps it a second. By then as much again is freed as a node has, where large values come and go on many threads: each
/// thread looks for memory in another place, so that one does not take what another one freed.
const PURGE_DELAY_MILLIS: c_long = 10;

/// mimalloc, and mappings for what is large, with a tally for each thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingAllocator;

impl CountingAllocator {
    /// How many bytes the calling thread has allocated and not freed; below zero where it frees what others allocated.
    /// Zero when this is not the program's allocator.
    pub fn held() -> i64 {
        reading().bytes
    }

    /// Gives freed memory back to the system within milliseconds, as far as more is allocated meanwhile. To be called at the start.
    /// `MIMALLOC_PURGE_DELAY` in the environment stands above it.
    pub fn keep_little() {
        mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MILLIS);
    }

    /// Gives memory back to the system that was freed some time ago. mimalloc does so by itself only when more is
    /// allocated, which on a node that has nothing to do is never. Each thread has to do it for what it holds itself: this one now, others
    /// when they are about to sleep, by [`Self::give_back_before_sleep`].
    pub fn give_back() {
        ASKED.fetch_add(1, Ordering::Relaxed);
        Self::give_back_before_sleep();
    }

    /// What [`Self::give_back`] asks of every thread, once.
    pub fn give_back_before_sleep() {
        let asked = ASKED.load(Ordering::Relaxed);
        if GIVEN.replace(asked) != asked {
            mi_collect(false);
        }
    }
}

/// How often memory was to be given back.
static ASKED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// As of which time this thread has given it back.
    static GIVEN: Cell<u64> = const { Cell::new(0) };
}

/// What a thread has allocated less what it has freed. It is negative where a thread frees what another one allocated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Bytes.
    pub(crate) bytes: i64,
    /// Separate allocations.
    pub(crate) blocks: i64,
}

struct Tally {
    bytes: Cell<i64>,
    blocks: Cell<i64>,
    peak: Cell<i64>,
    /// A block was asked for that no value within its bounds takes.
    oversized: Cell<bool>,
}

thread_local! {
    // Constant and without a destructor, so that reading it never allocates and works while a thread ends.
    static TALLY: Tally = const {
        Tally {
            bytes: Cell::new(0),
            blocks: Cell::new(0),
            peak: Cell::new(0),
            oversized: Cell::new(false),
        }
    };
}

/// What this thread holds now.
pub(crate) fn reading() -> Reading {
    TALLY.with(|tally| Reading { bytes: tally.bytes.get(), blocks: tally.blocks.get() })
}

/// Begins a new measurement of the peak; gives back the peak of the one around it, for [`end_peak`].
pub(crate) fn begin_peak() -> i64 {
    TALLY.with(|tally| tally.peak.replace(tally.bytes.get()))
}

/// The most bytes that this thread held since [`begin_peak`]; the measurement around it goes on.
pub(crate) fn end_peak(around: i64) -> i64 {
    TALLY.with(|tally| {
        let peak = tally.peak.get();
        tally.peak.set(peak.max(around));
        peak
    })
}

/// Whether this thread was given a block since this was asked the last time that no value within its bounds takes.
///
/// Collections grow ahead, into blocks of up to twice what they hold. So a block of twice as many bytes as a string or a
/// blob can have proves that one has more, and costs nothing to notice, however it came to be.
pub(crate) fn take_oversized() -> bool {
    TALLY.with(|tally| tally.oversized.replace(false))
}

/// Notes a block that is large, by what it is for: strings and blobs have no alignment to speak of, arrays that of their values.
#[cold]
fn note_oversized(size: usize, align: usize) {
    let most =
        if align < ALIGNED_ANYWAY { STRING_MAX } else { ARRAY_MAX.saturating_mul(size_of::<Dynamic>()) };
    if size >= 2 * most {
        let _ = TALLY.try_with(|tally| tally.oversized.set(true));
    }
}

/// Runs `work`, which belongs to the server and not to the script, without counting what it allocates.
pub(crate) fn uncounted<T>(work: impl FnOnce() -> T) -> T {
    TALLY.with(|tally| {
        let (bytes, blocks, peak) = (tally.bytes.get(), tally.blocks.get(), tally.peak.get());
        let oversized = tally.oversized.get();
        let done = work();
        tally.oversized.set(oversized);
        tally.bytes.set(bytes);
        tally.blocks.set(blocks);
        tally.peak.set(peak);
        done
    })
}

/// Counts a block that was made, of that size and alignment.
fn count_new(size: usize, align: usize) {
    count(size as i64, 1);
    if size >= 2 * STRING_MAX {
        note_oversized(size, align);
    }
}

fn count(bytes: i64, blocks: i64) {
    let _ = TALLY.try_with(|tally| {
        let held = tally.bytes.get().wrapping_add(bytes);
        tally.bytes.set(held);
        tally.blocks.set(tally.blocks.get().wrapping_add(blocks));
        if held > tally.peak.get() {
            tally.peak.set(held);
        }
    });
}

/// Every block that is as long as this, in bytes, is aligned to it: a machine word, as with any `malloc`.
const ALIGNED_ANYWAY: usize = size_of::<usize>();

/// Whether mimalloc need not be told the alignment, for which it would take a longer way.
fn is_aligned_anyway(size: usize, align: usize) -> bool {
    align <= ALIGNED_ANYWAY && align <= size
}

fn small(size: usize, align: usize) -> *mut u8 {
    let block = if is_aligned_anyway(size, align) {
        // SAFETY: any size may be asked for.
        unsafe { mi_malloc(size) }
    } else {
        // SAFETY: any size may be asked for; a layout's alignment is a power of two.
        unsafe { mi_malloc_aligned(size, align) }
    };
    block.cast()
}

fn small_zeroed(size: usize, align: usize) -> *mut u8 {
    let block = if is_aligned_anyway(size, align) {
        // SAFETY: any size may be asked for.
        unsafe { mi_zalloc(size) }
    } else {
        // SAFETY: any size may be asked for; a layout's alignment is a power of two.
        unsafe { mi_zalloc_aligned(size, align) }
    };
    block.cast()
}

// SAFETY: what is not large is forwarded to mimalloc with its arguments unchanged, save an alignment that each of its blocks of that
// size has. What is large is a mapping of its own, or mimalloc's where `large` says so. The size says which it is, and a block is
// given back with the size that it has. Counting touches only plain cells of the calling thread and neither allocates nor unwinds.
// Sizes are at most `isize::MAX`, so casting them keeps their value.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        let block = if large::is_large(size, align) { large::map(size) } else { ptr::null_mut() };
        let block = if block.is_null() { small(size, align) } else { block };
        if !block.is_null() {
            count_new(size, align);
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        let block = if large::is_large(size, align) { large::map(size) } else { ptr::null_mut() };
        let block = if block.is_null() { small_zeroed(size, align) } else { block };
        if !block.is_null() {
            count_new(size, align);
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if large::is_large(layout.size(), layout.align()) && !large::is_small(block) {
            // SAFETY: the caller gives back a block of this allocator and of this size, which is a mapping.
            unsafe { large::unmap(block, layout.size()) };
        } else {
            // SAFETY: the caller gives back a block of this allocator, which is one of mimalloc's.
            unsafe { mi_free(block.cast()) };
        }
        count(-(layout.size() as i64), -1);
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let align = layout.align();
        let (was_large, is_large) = (large::is_large(layout.size(), align), large::is_large(size, align));
        let resized = if !was_large && !is_large {
            if is_aligned_anyway(size, align) {
                // SAFETY: the caller hands over a block of this allocator, which is one of mimalloc's.
                unsafe { mi_realloc(block.cast(), size) }.cast()
            } else {
                // SAFETY: as above; a layout's alignment is a power of two.
                unsafe { mi_realloc_aligned(block.cast(), size, align) }.cast()
            }
        } else if was_large && is_large && !large::is_small(block) {
            // SAFETY: the caller hands over a block of this allocator and of that size, which is a mapping.
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
        // What becomes large, or no longer is, is copied, and so is what the system has no mapping for.
        // SAFETY: the caller says that the new size is a layout's, as the old one is. Both blocks have what is copied.
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

/// Large blocks: each is a mapping of its own (mmap(2)), which is the system's again as soon as it is freed, grows without being copied,
/// and keeps nothing beside it. mimalloc cuts those of up to 512 KiB from pieces of 4 MiB, of which each thread has some for each size:
/// with one block in use the whole piece is held.
#[cfg(target_os = "linux")]
mod large {
    use std::ffi::c_void;
    use std::ptr;

    use rustix::mm::{Advice, MapFlags, MremapFlags, ProtFlags, madvise, mmap_anonymous, mremap, munmap};

    unsafe extern "C" {
        // Of mimalloc's own. It only looks up whether the address lies in memory of its.
        safe fn mi_is_in_heap_region(block: *const c_void) -> bool;
    }

    /// As the system's own allocator has it. A mapping costs as much as it takes to write some tens of kilobytes.
    pub(super) const LARGE_MIN: usize = 128 * 1024;

    /// What mappings are aligned to everywhere, at least.
    const ALIGN_MAX: usize = 4096;

    pub(super) fn is_large(size: usize, align: usize) -> bool {
        size >= LARGE_MIN && align <= ALIGN_MAX
    }

    /// Whether a block is mimalloc's though it is large: a process has a bounded number of mappings.
    pub(super) fn is_small(block: *mut u8) -> bool {
        mi_is_in_heap_region(block.cast())
    }

    /// A block of zeros. Null: the system has no mapping for it.
    pub(super) fn map(size: usize) -> *mut u8 {
        let flags = MapFlags::PRIVATE;
        // SAFETY: a new mapping at an address of the system's choice lies upon nothing.
        let mapped =
            unsafe { mmap_anonymous(ptr::null_mut(), size, ProtFlags::READ | ProtFlags::WRITE, flags) };
        mapped.map_or(ptr::null_mut(), <*mut c_void>::cast)
    }

    /// The block with another size, elsewhere if need be. Null: it is as it was.
    ///
    /// # Safety
    /// The block is one of [`map`]'s or of this, and has that size.
    pub(super) unsafe fn resize(block: *mut u8, old: usize, new: usize) -> *mut u8 {
        // SAFETY: the mapping is the block's alone; who hands it over uses the old address no more.
        let moved = unsafe { mremap(block.cast(), old, new, MremapFlags::MAYMOVE) };
        moved.map_or(ptr::null_mut(), <*mut c_void>::cast)
    }

    /// Gives a block back.
    ///
    /// # Safety
    /// As for [`resize`].
    pub(super) unsafe fn unmap(block: *mut u8, size: usize) {
        // SAFETY: the mapping is the block's alone, and nobody uses it any more.
        unsafe {
            // The system joins mappings, and has no place for one more where it would have to divide one. Its memory it takes back.
            if munmap(block.cast(), size).is_err() {
                let _ = madvise(block.cast(), size, Advice::LinuxDontNeed);
            }
        }
    }
}

/// Elsewhere all is mimalloc's.
#[cfg(not(target_os = "linux"))]
mod large {
    use std::ptr;

    pub(super) fn is_large(_size: usize, _align: usize) -> bool {
        false
    }

    pub(super) fn is_small(_block: *mut u8) -> bool {
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
    fn mimalloc_numbers_its_options_as_is_believed() {
        assert_eq!(mi_option_get(PURGE_DELAY), 1000, "what it is by itself");
        CountingAllocator::keep_little();
        assert_eq!(mi_option_get(PURGE_DELAY), PURGE_DELAY_MILLIS);
    }

    #[test]
    fn blocks_keep_what_they_hold_whatever_sizes_they_get() {
        const KIB: usize = 1024;
        let allocator = CountingAllocator;
        let sizes = [1, 100, 127 * KIB, 128 * KIB, 129 * KIB, 5000 * KIB, 200 * KIB, 128 * KIB, 64 * KIB, 3];
        for align in [1, 8, 64, 4096, 8192] {
            let before = reading();
            let mut layout = Layout::from_size_align(sizes[0], align).unwrap();
            // SAFETY: every block is used within its size, and given back with its layout.
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
                    assert_eq!(reading().bytes - before.bytes, size as i64);
                }
                allocator.dealloc(block, layout);
                let zeros = Layout::from_size_align(300 * KIB, align).unwrap();
                let block = allocator.alloc_zeroed(zeros);
                assert!((0..300 * KIB).all(|at| *block.add(at) == 0));
                allocator.dealloc(block, zeros);
            }
            assert_eq!(reading(), before);
        }
    }
}
