//! Text that is checked when it comes off the wire.
//!
//! An id is used in paths, branch names and queries; bytes from another process must not be able
//! to make one that [`std::str::FromStr`] would have refused. This is the crate's one module with
//! `unsafe`: the codec's schema traits are unsafe to implement by hand.
#![expect(unsafe_code, reason = "wincode's schema traits are unsafe traits")]

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use wincode::config::Config;
use wincode::error::invalid_value;
use wincode::io::{Reader, Writer};
use wincode::{ReadResult, SchemaRead, SchemaWrite, TypeMeta, WriteResult};

/// What text of this kind must look like.
pub trait TextRule {
    /// What is said when it doesn't.
    const REFUSAL: &'static str;
    fn allows(text: &str) -> bool;
}

/// The schema of a `String` that obeys `R`; for `#[wincode(with = "CheckedText<R>")]`.
pub struct CheckedText<R>(PhantomData<R>);

// SAFETY: size and bytes are `String`'s own; TYPE_META is forwarded without zero-copy.
unsafe impl<C: Config, R> SchemaWrite<C> for CheckedText<R>
where
    String: SchemaWrite<C, Src = String>,
{
    type Src = String;
    const TYPE_META: TypeMeta = <String as SchemaWrite<C>>::TYPE_META.keep_zero_copy(false);

    fn size_of(src: &String) -> WriteResult<usize> {
        <String as SchemaWrite<C>>::size_of(src)
    }

    fn write(writer: impl Writer, src: &String) -> WriteResult<()> {
        <String as SchemaWrite<C>>::write(writer, src)
    }
}

// SAFETY: `dst` is written only together with `Ok(())`; TYPE_META is forwarded without zero-copy.
unsafe impl<'de, C: Config, R: TextRule> SchemaRead<'de, C> for CheckedText<R>
where
    String: SchemaRead<'de, C, Dst = String>,
{
    type Dst = String;
    const TYPE_META: TypeMeta = <String as SchemaRead<'de, C>>::TYPE_META.keep_zero_copy(false);

    fn read(reader: impl Reader<'de>, dst: &mut MaybeUninit<String>) -> ReadResult<()> {
        let text = <String as SchemaRead<'de, C>>::get(reader)?;
        if !R::allows(&text) {
            return Err(invalid_value(R::REFUSAL));
        }
        dst.write(text);
        Ok(())
    }
}
