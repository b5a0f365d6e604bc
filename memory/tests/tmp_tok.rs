#[test] fn m(){ let d:Vec<(String,String,u32,u32)>=serde_json::from_str(&std::fs::read_to_string("/tmp/tokdata.json").unwrap()).unwrap();
let mut q:Vec<f64>=d.iter().map(|(_,t,a,_)|fleet_memory::estimate_tokens(t) as f64/ *a as f64).collect(); q.sort_by(f64::total_cmp); let n=q.len();
for p in [0,1,5,10,25,50,75,90,95,99]{println!("{p} {:.3}",q[n*p/100]);} println!("max {:.3} n {n}",q[n-1]);}
