# Drives Raindrops::Watcher: a request as a line of JSON in, its answer as a line of JSON out.
#
# Samples are taken when the test says so: the delay is an hour, and its sleep is ended. It is what
# time the test says, too.
require "raindrops"
require "rack"
require "raindrops/watcher"
require "json"
require "stringio"

$stdout.sync = true
$clock = Integer(ARGV[1])
Time.define_singleton_method(:now) { Time.at($clock) }
watcher = Raindrops::Watcher.new(listeners: JSON.parse(ARGV[0]), delay: 3600)
lines = Queue.new

sampled = lambda do |&act|
  before = watcher.snapshot
  act.call
  sleep 0.001 while before.equal?(watcher.snapshot)
end

sample = lambda do
  thread = watcher.instance_variable_get(:@thr)
  sleep 0.001 until thread.status == "sleep"
  sampled.call { thread.wakeup }
end

answer = lambda do |env|
  status, headers, body = watcher.call(env.merge("rack.input" => StringIO.new("")))
  text = +""
  body.each { |part| text << part } unless body.is_a?(Raindrops::Watcher::Tailer)
  [status, headers.to_h, text]
end

# The original waits for its first sample, and would wait an hour if that had come already.
begin_sampling = lambda do
  sampled.call do
    first = Thread.new { watcher.call("REQUEST_METHOD" => "GET", "PATH_INFO" => "/") }
    watcher.instance_variable_get(:@cond).broadcast until first.join(0.2)
  end
end

tail = lambda do |env|
  body = watcher.call(env)[2]
  thread = Thread.new { body.each { |line| lines << line } }
  sleep 0.001 until thread.status == "sleep"
end

while line = $stdin.gets
  command, env = JSON.parse(line)
  result =
    case command
    when "begin" then begin_sampling.call
    when "time" then $clock = env
    when "sample" then sample.call
    when "call" then answer.call(env)
    when "tail" then tail.call(env)
    when "lines" then Array.new(lines.size) { lines.pop }
    when "reset"
      thread = Thread.new { answer.call(env) }
      sleep 0.001 until thread.status == "sleep"
      sample.call
      thread.value
    end
  puts JSON.generate([result])
end
