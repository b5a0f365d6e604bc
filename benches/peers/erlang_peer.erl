%% Erlang's distribution, measured as Fleet is: two virtual machines on this host, one process sends to one process of
%% the other. Asked line by line on standard input: `tell BYTES COUNT` (messages a second), `ask COUNT` (median
%% microseconds, one in flight), `asks FLYING COUNT` (answers a second). The first line of the output is `ready WHAT`,
%% then each question gets one line, `error: WHY` if it failed.
-module(erlang_peer).
-export([drive/0, serve/0]).

-define(OTHER, 'fleet_bench_sink@127.0.0.1').
-define(PATIENCE, 60000).

%% The other machine. Ends with the connection to the driver, or when nobody comes.
serve() ->
    % The driver listens to nobody, so it counts as a hidden node.
    ok = net_kernel:monitor_nodes(true, [{node_type, all}]),
    %% A full mailbox that lives on the heap would be copied by every collection.
    Options = [{message_queue_data, off_heap}],
    register(sink, spawn_opt(fun() -> sink(0) end, Options)),
    receive {nodeup, _, _} -> ok after ?PATIENCE -> halt(1) end,
    receive {nodedown, _, _} -> halt(0) end.

sink(Taken) ->
    receive
        Payload when is_binary(Payload) -> sink(Taken + 1);
        {echo, From, Ref, Payload} -> From ! {Ref, Payload}, sink(Taken);
        {count, From, Ref} -> From ! {Ref, Taken}, sink(Taken)
    end.

%% Line by line until standard input ends.
drive() ->
    Sink = connect(erlang:monotonic_time(millisecond) + ?PATIENCE),
    io:format("ready Erlang/OTP ~s~n", [erlang:system_info(otp_release)]),
    answer(Sink),
    halt(0).

connect(Deadline) ->
    case net_kernel:connect_node(?OTHER) andalso rpc:call(?OTHER, erlang, whereis, [sink]) of
        Sink when is_pid(Sink) -> Sink;
        _ ->
            case erlang:monotonic_time(millisecond) < Deadline of
                true -> timer:sleep(50), connect(Deadline);
                false -> io:format("error: the other machine isn't reached~n"), halt(1)
            end
    end.

answer(Sink) ->
    case io:get_line("") of
        Line when is_list(Line) ->
            [What | Numbers] = string:lexemes(string:trim(Line), " "),
            try io:format("~p~n", [measure(What, [list_to_integer(N) || N <- Numbers], Sink)])
            catch Class:Why -> io:format("error: ~0p ~0p~n", [Class, Why])
            end,
            answer(Sink);
        _ -> ok
    end.

measure("tell", [Bytes, Count], Sink) ->
    Payload = binary:copy(<<7>>, Bytes),
    Before = count(Sink),
    Began = erlang:monotonic_time(microsecond),
    tell(Sink, Payload, Count),
    Count = count(Sink) - Before,
    rate(Count, Began);
measure("ask", [Count], Sink) ->
    Payload = binary:copy(<<7>>, 64),
    Times = [time_of_one(Sink, Payload) || _ <- lists:seq(1, Count)],
    lists:nth(Count div 2 + 1, lists:sort(Times)) / 1000;
measure("asks", [Flying, Count], Sink) ->
    Payload = binary:copy(<<7>>, 64),
    Each = max(1, Count div Flying),
    Began = erlang:monotonic_time(microsecond),
    Askers = [spawn_monitor(fun() -> ask(Sink, Payload, Each) end) || _ <- lists:seq(1, Flying)],
    [receive {'DOWN', Ref, process, _, normal} -> ok end || {_, Ref} <- Askers],
    rate(Each * Flying, Began).

rate(Count, Began) -> Count * 1.0e6 / (erlang:monotonic_time(microsecond) - Began).

tell(_, _, 0) -> ok;
tell(Sink, Payload, Count) -> Sink ! Payload, tell(Sink, Payload, Count - 1).

ask(_, _, 0) -> ok;
ask(Sink, Payload, Count) -> echo(Sink, Payload), ask(Sink, Payload, Count - 1).

echo(Sink, Payload) ->
    Ref = make_ref(),
    Sink ! {echo, self(), Ref, Payload},
    receive {Ref, Back} -> Back end.

time_of_one(Sink, Payload) ->
    Began = erlang:monotonic_time(nanosecond),
    echo(Sink, Payload),
    erlang:monotonic_time(nanosecond) - Began.

count(Sink) ->
    Ref = make_ref(),
    Sink ! {count, self(), Ref},
    receive {Ref, Taken} -> Taken end.
