# The peer of listeners.py: for each line {"addresses": [...] or null, "calls": n, "clock": id} it calls
# Ruby raindrops n times and answers with the nanoseconds of each call and the last figures.
require "json"
require "raindrops"

$stdout.sync = true
$stdin.each_line do |line|
  task = JSON.parse(line)
  found = nil
  times = Array.new(task["calls"]) do
    start = Process.clock_gettime(task["clock"], :nanosecond)
    found = Raindrops::Linux.tcp_listener_stats(task["addresses"])
    Process.clock_gettime(task["clock"], :nanosecond) - start
  end
  puts JSON.generate("times" => times, "found" => found.map { |k, v| [k, v.to_a] }.to_h)
end
