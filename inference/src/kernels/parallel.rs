//! Work spread over candle's pool of threads, which candle's own kernels use too: two pools would fight for the cores.

use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, OnceLock, PoisonError};

use candle_core::utils::barrier_pool;

/// Calls `work` with ranges that together are `0..n`, on all threads; returns when all is done.
pub(super) fn parallel(n: usize, work: impl Fn(Range<usize>) + Sync) {
    // The pool's lock would be poisoned by a panic, and every later call with it.
    let panicked = OnceLock::new();
    barrier_pool().execute_chunked(n, |range| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(range))) {
            let _ = panicked.set(Mutex::new(panic));
        }
    });
    if let Some(panic) = panicked.into_inner() {
        resume_unwind(panic.into_inner().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The same, on this thread alone where waking the others would cost more: `cost` is in elements touched.
pub(super) fn parallel_if(cost: usize, n: usize, work: impl Fn(Range<usize>) + Sync) {
    if n > 1 && cost > 16_384 { parallel(n, work) } else { work(0..n) }
}

/// Calls `work` with each item, on all threads. It must not panic.
pub(crate) fn each<T: Send>(items: &mut [T], work: impl Fn(&mut T) + Sync) {
    let n = items.len();
    let items = Shared::new(items);
    let one = |i: usize| {
        // SAFETY: each index is given to one thread.
        if let [item] = unsafe { items.slice(i, 1) } {
            work(item);
        }
    };
    if n > 1 { parallel(n, |range| range.for_each(one)) } else { (0..n).for_each(one) }
}

/// A slice of which several threads write different parts.
pub(super) struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: parts are only given out by `slice`, whose caller sees to it that they don't overlap.
unsafe impl<T: Send> Sync for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(super) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// # Safety
    /// Nobody else may have a part that overlaps with this one.
    #[inline(always)]
    pub(super) unsafe fn slice(&self, at: usize, len: usize) -> &'a mut [T] {
        assert!(at + len <= self.len, "a part beyond the end");
        // SAFETY: within the slice, which this borrows mutably; that it doesn't overlap is the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at), len) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn after_a_panic_the_pool_works_as_before() {
        for _ in 0..3 {
            let panicked = catch_unwind(|| parallel(100, |range| assert!(!range.contains(&50), "at fifty")));
            assert_eq!(*panicked.unwrap_err().downcast::<&str>().unwrap(), "at fifty");
            let sum = AtomicUsize::new(0);
            parallel(100, |range| {
                sum.fetch_add(range.sum(), Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 99 * 100 / 2);
        }
    }
}
