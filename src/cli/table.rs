//! Tables for people: no lines, no colours, as wide as the terminal; the cells are escaped.

use comfy_table::{ContentArrangement, Table};
use fleet_api::plain;

/// A table with this header.
pub fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    table
}

/// Adds a row of untrusted cells.
pub fn row<const N: usize>(table: &mut Table, cells: [String; N]) {
    table.add_row(cells.map(|cell| plain::line(&cell).into_owned()));
}

/// The table as text, without spaces at the ends of its lines.
pub fn text(table: &Table) -> String {
    table.trim_fmt()
}

/// A time as people of this machine read it.
pub fn time(at: fleet_runtime::Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(at) => at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => at.to_string(),
    }
}
