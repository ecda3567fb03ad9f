# A request in process, with Raindrops::Middleware and without. One line in ("rack 50",
# "rack_drops 50", "unicorn 50", "unicorn_drops 50"), the nanoseconds of one request out.
#
# rack: the Rack call, and its body read and closed as unicorn does it. unicorn: unicorn's own
# process_client, from the parsing of the request on, at one end of a socketpair.
require "logger"
require "raindrops"
require "unicorn"

BODY = "hello, world\n".freeze
HEADERS = { "Content-Type" => "text/plain", "Content-Length" => BODY.size.to_s }.freeze
ENVIRON = { "PATH_INFO" => "/some/path", "REQUEST_METHOD" => "GET" }.freeze
REQUEST = "GET /some/path?with=query HTTP/1.1\r\nHost: localhost:8000\r\n" \
          "User-Agent: benchmark\r\nAccept: */*\r\n\r\n"

def now
  Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
end

def rack(app, count)
  sink = nil
  i = 0
  began = now
  while i < count
    _status, _headers, body = app.call(ENVIRON)
    body.each { |chunk| sink = chunk }
    body.close if body.respond_to?(:close)
    i += 1
  end
  now - began
end

def server(app)
  server = Unicorn::HttpServer.new(app, listeners: [], logger: Logger.new(File::NULL))
  server.instance_variable_set(:@app, app)  # what forking a worker would have done
  server.instance_variable_set(:@request, Unicorn::HttpParser.new)
  server
end

def unicorn(server, count)
  pairs = Array.new(count) { Kgio::UNIXSocket.pair }
  pairs.each { |client, _| client.write(REQUEST) }
  i = 0
  began = now
  while i < count
    server.send(:process_client, pairs[i][1])
    i += 1
  end
  took = now - began
  raise "no answer" unless pairs.all? { |client, _| client.read.start_with?("HTTP/1.1 200") }
  pairs.each { |client, _| client.close }
  took
end

plain = lambda { |env| [200, HEADERS, [BODY]] }
drops = Raindrops::Middleware.new(plain, listeners: [])
PEERS = {
  "rack" => [:rack, plain],
  "rack_drops" => [:rack, drops],
  "unicorn" => [:unicorn, server(plain)],
  "unicorn_drops" => [:unicorn, server(drops)],
}

$stdout.sync = true
while (line = $stdin.gets)
  name, count = line.split
  function, subject = PEERS.fetch(name)
  puts send(function, subject, count.to_i).fdiv(count.to_i)
end
raise "the gauges are not 0" unless drops.stats.calling == 0 && drops.stats.writing == 0
