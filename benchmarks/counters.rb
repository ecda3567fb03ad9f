# Ruby raindrops' counters in a plain while loop, as counters.py has them. One line in
# ("struct 100000"), the nanoseconds of one turn out; "empty" is the loop alone.
require "raindrops"

Stats = Raindrops::Struct.new(:calling, :writing)
STATS = Stats.new
DROPS = Raindrops.new(2)

def empty(_, count)
  i = 0
  while i < count
    i += 1
  end
end

def incr(rd, count)
  i = 0
  while i < count
    rd.incr(1)
    i += 1
  end
end

def struct(stats, count)
  i = 0
  while i < count
    stats.incr_calling
    i += 1
  end
end

LOOPS = { "empty" => [:empty, nil], "incr" => [:incr, DROPS], "struct" => [:struct, STATS] }

def now
  Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
end

$stdout.sync = true
while (line = $stdin.gets)
  name, count = line.split
  count = count.to_i
  loop_, subject = LOOPS.fetch(name)
  began = now
  send(loop_, subject, count)
  puts (now - began).fdiv(count)
end
