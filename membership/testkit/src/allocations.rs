//! Counts what is taken from the heap.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The allocator that counts: a program makes it its `#[global_allocator]`.
pub struct Counting;

static TAKEN: AtomicU64 = AtomicU64::new(0);
static HELD: AtomicU64 = AtomicU64::new(0);

/// How often memory has been taken or grown so far.
pub fn taken() -> u64 {
    TAKEN.load(Relaxed)
}

/// Bytes held now, as the allocator hands them out: in multiples of 16, eight more each, 24 at least (glibc).
pub fn held() -> u64 {
    HELD.load(Relaxed)
}

fn size(layout: Layout) -> u64 {
    let bytes = (layout.size() + 8).next_multiple_of(16).max(32);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[allow(unsafe_code, reason = "an allocator cannot be had without; it only counts, and passes on")]
// SAFETY: every call goes unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.fetch_add(1, Relaxed);
        HELD.fetch_add(size(layout), Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(size(layout), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        TAKEN.fetch_add(1, Relaxed);
        HELD.fetch_sub(size(layout), Relaxed);
        // SAFETY: as above; the alignment is unchanged, and the caller has checked the size.
        let (grown, moved) = unsafe {
            (Layout::from_size_align_unchecked(bytes, layout.align()), System.realloc(at, layout, bytes))
        };
        HELD.fetch_add(size(grown), Relaxed);
        moved
    }
}
