use gallery::gallery::Gallery;
use gallery::Cache;

fn filled(room: usize, keys: &[&'static str]) -> Cache<&'static str, usize> {
    let mut cache = Cache::new(room);
    for (at, key) in keys.iter().enumerate() {
        cache.put(*key, at);
    }
    cache
}

#[test]
fn a_replaced_value_goes_last_and_the_others_keep_their_order() {
    let mut cache = filled(4, &["a", "b", "c", "d"]);
    cache.put("a", 9);
    assert_eq!(cache.keys(), ["b", "c", "d", "a"]);
    cache.put("c", 9);
    assert_eq!(cache.keys(), ["b", "d", "a", "c"]);
}

#[test]
fn replacing_takes_no_room() {
    let mut cache = filled(3, &["a", "b", "c"]);
    assert_eq!(cache.put("b", 5), None);
    assert_eq!(cache.put("b", 6), None);
    assert_eq!(cache.keys().len(), 3);
    assert_eq!(cache.get(&"b"), Some(&6));
}

#[test]
fn what_was_neither_read_nor_replaced_for_longest_goes() {
    let mut cache = filled(3, &["a", "b", "c"]);
    cache.put("a", 9);
    assert_eq!(cache.put("d", 1), Some("b"));
    assert_eq!(cache.put("e", 1), Some("c"));
    assert_eq!(cache.put("f", 1), Some("a"));
}

#[test]
fn the_value_used_last_may_be_replaced() {
    let mut cache = filled(2, &["a", "b"]);
    cache.put("b", 9);
    assert_eq!(cache.keys(), ["a", "b"]);
    assert_eq!(cache.put("c", 1), Some("a"));
}

#[test]
fn other_thumbnails_are_still_forgotten_in_order() {
    let mut gallery = Gallery::new(3);
    for name in ["sea", "hill", "tree"] {
        gallery.hang(name, vec![vec![1; 2]; 2]);
        gallery.view(name);
    }
    gallery.hang("sea", vec![vec![8; 2]; 2]);
    gallery.hang("rock", vec![vec![1; 2]; 2]);
    gallery.view("rock");
    let drawn = gallery.drawn();
    gallery.view("sea");
    gallery.view("tree");
    assert_eq!(gallery.drawn(), drawn);
    gallery.view("hill");
    assert_eq!(gallery.drawn(), drawn + 1);
}
