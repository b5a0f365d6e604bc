use std::collections::HashSet;

use knights::moves::{list, moves};
use knights::ways::{distance, farthest};
use knights::Square;

fn square(text: &str) -> Square {
    Square::parse(text).unwrap()
}

fn all() -> Vec<Square> {
    (0..8).flat_map(|file| (0..8).map(move |rank| Square::new(file, rank).unwrap())).collect()
}

#[test]
fn a_square_knows_its_letter_and_its_number() {
    for file in 0..8 {
        for rank in 0..8 {
            let square = Square::new(file, rank).unwrap();
            assert_eq!((square.file(), square.rank()), (file, rank));
            assert_eq!(square.is_dark(), (file + rank) % 2 == 0);
            assert_eq!(Square::parse(&square.to_string()), Some(square));
        }
    }
}

#[test]
fn all_squares_are_different() {
    assert_eq!(all().into_iter().collect::<HashSet<_>>().len(), 64);
    assert_eq!(std::mem::size_of::<[Square; 64]>(), 64);
}

#[test]
fn squares_are_ordered_by_letter_then_by_number() {
    let squares = all();
    assert!(squares.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(square("a8") < square("b1"));
}

#[test]
fn moves_come_in_order() {
    assert_eq!(list(&moves(square("d4"))), "b3 b5 c2 c6 e2 e6 f3 f5");
    assert_eq!(list(&moves(square("a1"))), "b3 c2");
    assert_eq!(list(&moves(square("h4"))), "f3 f5 g2 g6");
}

#[test]
fn ways_are_as_long_as_before() {
    assert_eq!(distance(square("a1"), square("b2")), 4);
    assert_eq!(distance(square("a8"), square("h1")), 6);
    assert_eq!(distance(square("b1"), square("h1")), 4);
    assert_eq!(list(&farthest(square("h1"))), "a8");
    assert_eq!(list(&farthest(square("d4"))), "b2 b6 f2 f6 h8");
}

#[test]
fn nothing_lies_beside_the_board() {
    for (file, rank) in [(8, 0), (0, 8), (-1, 0), (0, -1), (256, 0), (0, 256), (-8, 64)] {
        assert_eq!(Square::new(file, rank), None, "{file} {rank}");
    }
}
