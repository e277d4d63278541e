# Charts of the CSV files in a folder:  gnuplot -e "folder='bench/results'" bench/charts.gp

set datafile separator ","
set terminal svg size 860,460 noenhanced font "sans-serif,12" background "white"
set grid ytics lc rgb "#dddddd"
set border 3
set tics nomirror
file(name) = folder."/".name

# ---- Decode, as a share of what the memory allows

set output file("decode.svg")
set title "Decode: share of the memory's bandwidth that reading the weights takes\n(above 1: the last cache keeps some of the smallest model)"
set style data histogram
set style histogram clustered gap 1
set style fill solid noborder
set boxwidth 0.9
set yrange [0:*]
set format y "%.1f"
set key outside top center horizontal
set rmargin 14
set xtics rotate by -35 scale 0
set ylabel "of the roof"
plot file("speed.csv") using (column("decode_of_roof")):xtic(stringcolumn("shape")." ".stringcolumn("type")) \
         lc rgb "#2b6cb0" title "decode", \
     "" using (column("decode_of_roof")/column("decode_of_bare")) lc rgb "#c9d7e6" \
         title "bare loop over the same rows", \
     1 with lines lc rgb "#c05621" title "streaming read"

# ---- Prefill by the length of the prompt

unset title
set xtics norotate scale 1
set style data lines
set ylabel
set key inside top left vertical
set rmargin 4
is(shape) = stringcolumn("shape") eq shape
pick(shape, value) = is(shape) ? value : NaN
set autoscale y
set yrange [0:*]
set format y "%g"
set output file("prefill.svg")
set tmargin 3
set multiplot layout 1,2 title "Prefill by the length of the prompt"
set logscale x 2
set xlabel "tokens of prompt"
set ylabel "tokens a second"
set xrange [1:2048]
set datafile missing "NaN"
plot file("prefill.csv") using (column("tokens")):(pick("smollm2-135m", column("tokens_s"))) \
         lc rgb "#2b6cb0" lw 1.5 title "smollm2-135m Q8_0", \
     "" using (column("tokens")):(pick("llama3.2-1b", column("tokens_s"))) \
         lc rgb "#c05621" lw 1.5 title "llama3.2-1b Q4_K_M"
unset logscale x
set ylabel "milliseconds"
set xrange [0:80]
set yrange [0:*]
plot file("prefill.csv") using (column("tokens")):(pick("smollm2-135m", 1e3*column("seconds"))) \
         lc rgb "#2b6cb0" lw 1.5 title "smollm2-135m Q8_0", \
     "" using (column("tokens")):(pick("llama3.2-1b", 1e3*column("seconds"))) \
         lc rgb "#c05621" lw 1.5 title "llama3.2-1b Q4_K_M"
unset multiplot

# ---- Decode by the tokens in the cache

set output file("context.svg")
set title "Decode by the tokens in the cache (f16): share of the bandwidth, weights and cache read once"
set xlabel "tokens in the cache"
set ylabel "of the roof"
set xrange [0:8192]
set xtics 1024
set yrange [0:1.3]
set key inside bottom right
plot file("context.csv") using (column("depth")):(pick("smollm2-135m", column("decode_of_roof"))) \
         with linespoints pt 7 ps 0.5 lc rgb "#2b6cb0" title "smollm2-135m Q8_0", \
     "" using (column("depth")):(pick("llama3.2-1b", column("decode_of_roof"))) \
         with linespoints pt 7 ps 0.5 lc rgb "#c05621" title "llama3.2-1b Q4_0", \
     1 with lines lc rgb "#999999" title "streaming read"
