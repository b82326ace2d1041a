//! Words that keys and names are made of, and English words that are one letter away from them.
//!
//! A slip of the pen makes no word: whoever writes `form_id` may well mean a form. The list holds the words of the schemas of
//! common tool servers and their neighbours; what it lacks is covered by the other conditions of [`is_typo`](super::keys::is_typo).

use std::{collections::HashSet, sync::LazyLock};

/// Whether this is a word by itself, in small letters.
pub(super) fn is_word(text: &str) -> bool {
    static SET: LazyLock<HashSet<&str>> = LazyLock::new(|| WORDS.split_ascii_whitespace().collect());
    SET.contains(text)
}

const WORDS: &str = "\
a about above abstract accept access account accounts action actions active actor adapt add added address after age
agent agents album alias alien align all alley allow allowed alter altitude amount amounts angel angle answer answers
any append apple apply arch archive archived archives area areas arg args argument arguments array arrays article
articles aside ask assert asset assets assign assigned assignee assignees assigns attach attempt attribute audio audit
auth author authors auto avatar average aversion award away axes axis back backup bad bade bake band bank bare bark
base bases bash basic basis batch bath bathe bead bean beast beat begin behind bell below best bets between bid bin
bind bit bite bits black blank blob block blocks blue board boards body bold bolt bond bone book books boost boot
border boss both bottom bound bounds box boxes branch brand brands breach breadth break breath breathe bred brief
bring broad brunch bucket budget bug bugs build builds bulk burn bus button buy byte bytes cab cable cache caches
calendar call called caller calls camera can canal cancel candidate capital caption capture car card cards care carol
carry cart carve case cases cash cast casual cat catalog catch categories category causal cause cell cells cent center
chain chair chance change changed changes channel channels char chart charts chat cheap check checked checks chef
child children chip choice choices choose chunk chunks cite cities city claim class classes clause clean clear click
clicks client clients clip clock clone close closed cloth clothe cloud clue cluster coast coat code coded coder codes
cog coin cold colon color colors column columns come coming comma command commands commas comment comments commit
commits common community compact company compare complete component compress compute concept concern condition
conditions config confirm connect contact contacts contain contains contend content contents contest context contexts
continue control convent convert cook cookie cookies cool cop copies copy cord core cores corn corner correct cost
costs count counter counties countries country counts county coup course court cover covers crane crap crate crawl
crawler create created creates creator credit crew crime criteria cron crop cross crow crowd cube cup currency current
cursor curve custom customer cut cycle daily dairy dam damage dare dark dart dash data database dataset date dated
dates day days dead deal dear death debt debug decide decimal deck decode deep default defer degree delay delays
delete deleted deliver delta demo deny department depend deploy dept depth depths desc desert design desk dessert dest
destination detach detail details detect device devices diagram dialog diary dice did die diet diff differ diffs digit
dimension dimensions dine dip dir direct direction directory dirs disable disc discount disk display dist distance
distinct district dive dock document documents dog dom domain domains done door dot double down download draft drag
draw driver drop dry due dump duration during dust duty dynamic each ear early earn easy edge edges edit edited editor
edits effect eight element elements else email emails embed embedding empty enable enabled encode encoding encrypt end
ended endpoint ends engine enter entire entities entity entries entry enum env envelop envelope environment equal
error errors estate estimate even event events ever every exact example excel except exclude exclusive exec execute
exist exists exit expand expect expense expire expires expiry explain explore export expression ext extend extension
extent external extra extract face fact fail failed failure fair fall false family far fare farm fast fate fear feat
feature features fed fee feed feel feet fell fetch few field fields fig figure file filed filename filenames filer
files fill filled film filter filters final find fine finger finish fire firm first fish fit five fix flag flags flat
flight flip float floor flow flows flush focus fold folded folder folders folk follow font fonts food foot for force
forced forecast foreign forest fork form formal format formats formed former forms formula fort forth forum forward
found four frame frames free freeze frequency fresh friend frog from front full fun function functions fund fuse
future gain game games gap gape gas gate gates gather gave gear gender general generate genre get gift give given
glass glob global globe goal goals gold gone good goods got grade graft gram grand grant graph graphs grass gray great
green grep grid gross ground group grouped groups grow guess guest guide guild hair half hall hand handle handles hard
hare has hash hashes hast hat hate have head headed header headers heads heap hear heard heart heat height heights
held help helper here hero hide high hill hint hints hire history hit hold hole home hood hook hooks hope horn host
hosted hosts hot hotel hour hours house how html hub huge human humane hunt icon icons idea ideal identifier idle ids
image images impact import in include included including income increase index indices info inform inline inner input
inputs insert inset inside insight install instance instant instead instruction instructions insurance int integer
intent interest internal interval into invent invert invest invite invoice is isolated issue issued issuer issues it
item items its job jobs join joint judge jump just keep kept key keyed keys keyword keywords kill kilo kind kinds king
know label labels lack land lane lang language languages large last late later latest latitude launch law lay layer
layers layout lazy lead leader leaf leak lean learn lease least leave left legal lend length lent less lesson let
letter level levels library license lick lie life lift light like lime limit limited limits line lined lines lining
link linked links lint lip list listed listen lists lit lite live lives load loaded loads loan local locale locales
location locations lock lockdown locked log logged logic login logo logs long longitude look loop lose loss lost lot
loud love low lower luck lunch made magic mail main maintain major make maker male mall man manage manager manual many
map mapped mapping mappings maps march margin mark marked marker market marks mask mass massage master mat match
matched matches mate material matrix matter max may mean means measure media medium meet member members memo memory
men mention menu merge merged mess message messages messaging met meta metadata meter method methods metric mid mile
milestone mill mime min mind mine minor mint minute minutes miss missing mix mob mobile modal mode model models
moderate modern modes modified modify module moment money monitor month months mood moon moral morale more most motion
mount mouse move moved moves movie much multi mute nail name named names namespace narrow nation native natural nature
near neat necessary neck need needed needs nest nested net network never new news next nice nine node nodes noise none
norm normal north nose not note noted notes notice notify noun now null num number numbers object objects observe off
offer office offset offsets often old older on once one ones online only open opened operation operator opt option
optional options or oral order ordered orders org organization origin original origins other out outer outline output
outputs outside over overwrite own owned owner owners pace pack package packages packet pad padding page paged pager
pages paid pain paint pair paired pairs pale palm pan pane panel paper papers paragraph param parameter parameters
params parent parents parity park parse parsed parser part partial parties partition parts party pass passed password
past paste pat patch patches path paths patient pats pattern patterns pause pay payload payment peak peer pen people
per percent perform period permission permit person phase phone phones photo phrase pick picked picture pie piece pile
pin pipe pipeline pit pitch pixel place placed places plain plan plane planet plank plans plant plate platform play
player plot plots plug plugin plus point pointed pointer points poke pole policies policy poll pool poor pop populate
port ports pose position positions post posted posts pot pound pour power practice pre prefer prefers prefix prepare
present preserve press previous prey price priced prices pride primary prime print prior priority prism private prize
process product products profile profiles profit program progress project projects promise prompt prompts proof
properties property propose protect protocol prove provide provider province proxy pub public publish pull pulled
pulls pulse pump pure purpose push put qualities quality quantity quarter queries query quest question questions queue
quick quiet quite quota quote quotes race radio radios radius rage raise ran random range ranged ranger ranges rank
ranks rapid rare rat rate rated rates rating ratio raw ray reach reaction read reader ready real realm reason reasons
rebase receive recent recipe recipient record records recover rectangle red redirect reduce ref refer reference refine
refs refund refuse regard regex region regions register regular reject relate relation relations relative release
reload remain remark remind remote remove removed rename render rent repair repeat replace reply repo report reports
repos repository request requests require required requires reserve reset reside resize resolve resource resources
respond response rest restart restore result results resume retention retire retrieve retry return returns revenue
reverse review reviewer reviewers reviews revise revision rich rid ride right ring rise risk road roam role roles roll
roof room rooms root roots rotate route router routes routine row rows rule ruler rules run runs rural safe said sail
sale sales salt same sample samples sand sang save saved say scale scan scar scare scene schedule schema schemas
scheme school scope scopes score scored scores scrap scrape scratch screen script scripts scroll sea seal search
season seat second seconds secret secrets section sections secure see seed seek select selected selector self sell
send sender sense sent sentence separate sequence serial series serve server servers serves service services session
set sets setting settings setup seven sever several shade shake shape shapes share shared shares sheet sheets shell
shift ship shirt shoot shop shore short shot show shown shut side sides sight sign signal signed silent similar simple
since single sink sir site sites six size sized sizes skill skin skip sky slate slave sleep slice slide slip slope
slot slots slow slug small smart smile smooth snap snapshot snow so social soft software soil sold some song soon sore
sort sorted sorts soul sound source sourced sources space spaces span spare spark speak spec special speed spell spend
spit split spoke sport spot spread sprint square stable stack staff stage stages stake stale stamp stand standard star
stare stars start started starting starts stash stat state stated states static station statistics stats status
statuses stay steal steam step steps stereo still stir stitch stock stone stop stops storage store stored stores
stories storm story strand strange strategy stream streams street strength stress strict strike string strings strip
stripe strong structure student study stuff style styles sub subdomain subdomains subject subjects submit subset
subtitle success such suffix suggest suggestion suggestions suit suite sum summary supply support sure surface surname
switch symbol symbols sync syntax system table tables tag tagged tags tail take tale talk tall tank tap tape target
targets task tasks tax taxi team teams tear tell temp temperature template templates ten tenant tend tense tent term
terminal terms test tested tests text texts than thank that the theme then there thin thing think third this thought
thoughts thread threads three threshold throttle through throw thumb ticket tickets tide tie tied ties tight tile
tiles till timber time timed timeout timeouts timer times timestamp timezone tin tiny tip tire title titled titles to
today toe together toggle token tokens told toll tone too tool tools top topic topics total totals touch tour toward
tower town trace traces track tracks trade traffic trail train trait transaction transcript transfer transform transit
translate transport trap trash travel treason tree trees trend trial trick tried trigger trim trip truck true trust
try tube tune turn twin twist two type typed types typo tyre under undo union unique unit unite united units unless
unlike unlock unread untied until up update updated updates upload upper upsert urge uri urls usage use used useful
user username users uses usual valid validate value valued values valve van vanish var variable variables variant vary
vast vector vectors vendor verb verbose verbosity verify verse version versions very vest vet via video videos view
viewed viewer viewport views visa visible visit voice void volume vote wage wait wake walk wall want ward ware warm
warn warning wars wash watch wave way weak wear weather web webhook webhooks week weekly weeks weigh weight weights
well went were west what wheat wheel when where whether which while white who whole whom why wide width widths wife
wild will win wind window windows wine wing wipe wire wise wish with within without wood word words wore work worker
workers workflow works workspace world worm worse worst worth wrap write writer written wrong yard year years yes yet
yield you young your zero zone zones zoom";
