-- wrk -t2 -c64 -d10s -s integrations/load/post.lua http://127.0.0.1:8080/e9461f1c-ef78-4162-bcb7-e83da7287614
wrk.method = "POST"
