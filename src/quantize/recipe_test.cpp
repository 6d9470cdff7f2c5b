#include "quantize/recipe.h"

#include <gtest/gtest.h>

#include <string>

namespace fptq::quantize {
namespace {

Recipe builtin(std::string_view name) {
  auto recipe = builtin_recipe(name);
  EXPECT_TRUE(recipe);
  return *std::move(recipe);
}

std::string message_of(const std::string& yaml) {
  const auto recipe = parse_recipe(yaml, "r.yaml");
  return recipe ? "accepted" : recipe.error().message;
}

TEST(BuiltinRecipe, RtnIsFourBitsInGroupsOf32WithEightBitActivations) {
  const Recipe recipe = builtin("rtn");
  EXPECT_EQ(describe_scheme(recipe.linears.scheme),
            "w4g32-a8t (weights asymmetric, activations symmetric)");
  EXPECT_EQ(describe_scheme(recipe.embedding.scheme), "w8c (weights symmetric)");
  EXPECT_EQ(describe_scheme(recipe.classifier.scheme),
            "w8c-a8t (weights symmetric, activations symmetric)");
}

TEST(BuiltinRecipe, Int8IsEightBitsPerChannelEverywhere) {
  const Recipe recipe = builtin("int8");
  EXPECT_EQ(scheme_name(recipe.linears.scheme), "w8c-a8t");
  EXPECT_EQ(recipe.linears, recipe.classifier);
  EXPECT_EQ(scheme_name(recipe.embedding.scheme), "w8c");
}

TEST(BuiltinRecipe, Nf4RoundsLinearsAlone) {
  const Recipe recipe = builtin("nf4");
  EXPECT_EQ(scheme_name(recipe.linears.scheme), "nf4b64-dq");
  EXPECT_FALSE(recipe.linears.scheme.activations);
  EXPECT_EQ(recipe.embedding, LayerChoice{});
  EXPECT_EQ(recipe.classifier, LayerChoice{});
}

TEST(BuiltinRecipe, FptqIsTheSchemeOfRtnRoundedByGptq) {
  const Recipe recipe = builtin("fptq");
  EXPECT_EQ(recipe.linears, builtin("rtn").linears);
  EXPECT_EQ(recipe.classifier, builtin("rtn").classifier);
  EXPECT_EQ(recipe.rounding, algo::Rounding::kGptq);
  EXPECT_TRUE(recipe.needs_calibration());
  EXPECT_FALSE(builtin("rtn").needs_calibration());
}

TEST(BuiltinRecipe, FptqPaperRoundsGroupsOf128ToNearestAndChoosesActivationsByTheirRange) {
  const Recipe recipe = builtin("fptq-paper");
  EXPECT_EQ(recipe.linears.scheme.weights, int_weights(4, Strategy::kGroup, 128, false));
  EXPECT_EQ(recipe.rounding, algo::Rounding::kNearest);
  EXPECT_EQ(recipe.activation_policy, (algo::ActivationThresholds{15.0, 150.0}));
  EXPECT_EQ(recipe.equalization, Equalization::kLae);
  EXPECT_TRUE(recipe.observes_inputs());
  EXPECT_TRUE(recipe.rounds_in_blocks());
}

TEST(BuiltinRecipe, RejectsUnknownNames) {
  const auto recipe = builtin_recipe("best");
  ASSERT_FALSE(recipe);
  EXPECT_EQ(recipe.error().kind, Error::Kind::kInvalidArgument);
  EXPECT_EQ(recipe.error().message,
            "recipe \"best\": not known; this version offers fptq, fptq-paper, rtn, int8, nf4 and "
            "YAML files");
}

TEST(PrintRecipe, ShowsEverySetting) {
  RecipeOverrides flags;
  flags.overrides = {R"(layers\.0\..*it's=w8c)"};
  const auto recipe = apply_overrides(builtin("rtn"), flags);
  ASSERT_TRUE(recipe);
  EXPECT_EQ(print_recipe(*recipe),
            "name: rtn\n"
            "weights: w4g32\n"
            "symmetric: false\n"
            "activations: a8t\n"
            "embed: w8c-sym\n"
            "head: w8c-sym-a8t\n"
            "rounding: rtn\n"
            "scale_dtype: auto\n"
            "seed: 0\n"
            "overrides:\n"
            "  - match: 'layers\\.0\\..*it''s'\n"
            "    scheme: w8c-sym-a8t\n");
}

TEST(PrintRecipe, IsReadBackAsTheSameRecipe) {
  RecipeOverrides flags;
  flags.weights = "w4g128";
  flags.symmetric = true;
  flags.activations = "a8t-asym";
  flags.embed = "bf16";
  flags.head = "w4g64-a16";
  flags.scale_dtype = "f32";
  flags.seed = 18446744073709551615ULL;
  flags.overrides = {"up_proj=keep", "o_proj=w8g64", "q_proj=f16", "=x=w4c-sym"};
  const auto changed = apply_overrides(builtin("int8"), flags);
  ASSERT_TRUE(changed) << changed.error().message;
  for (const Recipe& recipe : {builtin("rtn"), builtin("int8"), *changed}) {
    const std::string yaml = print_recipe(recipe);
    const auto again = parse_recipe(yaml, "r.yaml");
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(*again, recipe);
    EXPECT_EQ(print_recipe(*again), yaml);
  }
}

TEST(LayerChoice, LeavesTheSymmetryOfActivationsToTheirOwnSetting) {
  const auto choice = parse_layer_choice("w4c-a8t-asym", a8_dynamic_per_token());
  ASSERT_FALSE(choice);
  EXPECT_EQ(choice.error().message,
            "scheme \"w4c-a8t-asym\": expected the symmetry of weights before -a8t. That of "
            "activations is part of the setting activations: a8t or a8t-asym");
}

TEST(ParseRecipe, TakesWhatIsNotSaidFromRtn) {
  const auto recipe = parse_recipe("weights: w4g64\n", "r.yaml");
  ASSERT_TRUE(recipe);
  Recipe expected = builtin("rtn");
  expected.name = "custom";
  expected.linears.scheme.weights->group_size = 64;
  EXPECT_EQ(*recipe, expected);
}

TEST(ParseRecipe, GivesTheClassifierTheActivationsOfTheRest) {
  const auto recipe = parse_recipe("{weights: w8c, activations: a16}", "r.yaml");
  ASSERT_TRUE(recipe);
  EXPECT_EQ(recipe->classifier.scheme.activations, std::nullopt);
  EXPECT_EQ(scheme_name(recipe->linears.scheme), "w8c");
}

TEST(ParseRecipe, NamesTheUnknownKeyAndThoseThatExist) {
  EXPECT_EQ(
      message_of("weights: w4g32\nwieghts: w8c\n"),
      "r.yaml: line 2, column 10: unknown key \"wieghts\"; expected weights, symmetric, "
      "activations, embed, head, overrides, rounding, damping, act_order, grids, "
      "alternations, correction, residual_correction, refit, descent_passes, rotate, "
      "rotate_down, equalize, smoothquant_alpha, activation_policy, target_bpw, massive_inputs, "
      "sensitivity_samples, calib, samples, "
      "seqlen, self_samples, scale_dtype, seed, name");
}

TEST(ParseRecipe, RejectsWhatIsNotARecipe) {
  EXPECT_EQ(message_of("[]").find("r.yaml: line 1, column 1: expected a mapping with the keys"),
            0U);
  EXPECT_EQ(message_of("name: x\n"),
            "r.yaml: line 1, column 1: expected the key weights, for example w4g32");
  EXPECT_EQ(message_of("weights: [w4g32]"),
            "r.yaml: line 1, column 10: weights: expected a value, got sequence");
  EXPECT_EQ(message_of("weights: w4g32\nseed: -1\n"),
            "r.yaml: line 2, column 7: seed \"-1\": expected a number from 0 to 2^64 - 1");
  EXPECT_EQ(message_of("weights: w4g32-asym\nsymmetric: true\n"),
            "r.yaml: line 2, column 12: symmetric: contradicts the key weights");
  EXPECT_EQ(message_of("weights: w4g32\nname: '../x'\n"),
            "r.yaml: line 2, column 7: name \"../x\": expected at most 64 letters, digits, dots, "
            "dashes and underscores");
  EXPECT_EQ(message_of("weights: w4g32-a8t\n"),
            "r.yaml: line 1, column 10: weights \"w4g32-a8t\": expected a scheme of weights alone. "
            "Activations have a setting of their own");
}

TEST(ParseRecipe, RejectsOverridesThatAreIncomplete) {
  EXPECT_EQ(
      message_of("weights: w4g32\noverrides:\n  - match: a\n"),
      "r.yaml: line 3, column 5: overrides: expected a mapping with the keys match and scheme");
  EXPECT_EQ(message_of("weights: w4g32\noverrides:\n  - {match: a, scheme: w8c, x: 1}\n"),
            "r.yaml: line 3, column 32: unknown key \"x\"; expected match, scheme");
  EXPECT_EQ(message_of("weights: w4g32\noverrides: all\n"),
            "r.yaml: line 2, column 12: overrides: expected a sequence, got value");
  EXPECT_EQ(
      message_of("weights: w4g32\noverrides: [7]\n"),
      "r.yaml: line 2, column 13: overrides: expected a mapping with the keys match and scheme");
}

TEST(ParseRecipe, MakesActivationsStaticButThoseOfTheClassifier) {
  const auto recipe = parse_recipe("{weights: w8c, activations: a8s}", "r.yaml");
  ASSERT_TRUE(recipe) << recipe.error().message;
  EXPECT_EQ(scheme_name(recipe->linears.scheme), "w8c-a8s");
  EXPECT_EQ(scheme_name(recipe->classifier.scheme), "w8c-a8t");
  EXPECT_TRUE(recipe->needs_calibration());
  const auto again = parse_recipe(print_recipe(*recipe), "again");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(*again, *recipe);
  EXPECT_EQ(message_of("{weights: w8c, head: w8c-a8s}"),
            "r.yaml: line 1, column 22: classifier: expected -a8t or -a16, got w8c-a8s; its inputs "
            "have no static range");
}

TEST(ParseRecipe, ReadsTheSettingsOfCalibration) {
  const auto recipe = parse_recipe(
      "{weights: w4g64, rounding: gptq, damping: 0.02, act_order: false, grids: range, "
      "alternations: 1, correction: 0.5, residual_correction: 0, refit: false, descent_passes: 3, "
      "rotate: hadamard, rotate_down: hadamard, equalize: smoothquant, smoothquant_alpha: 0.75, "
      "activation_policy: "
      "'10,20', "
      "calib: a/b.txt, samples: 7, seqlen: 99, self_samples: 3}",
      "r.yaml");
  ASSERT_TRUE(recipe) << recipe.error().message;
  EXPECT_EQ(recipe->calibrated.damping, 0.02);
  EXPECT_FALSE(recipe->calibrated.act_order);
  EXPECT_EQ(recipe->calibrated.grids, algo::GridChoice::kRange);
  EXPECT_EQ(recipe->calibrated.descent_passes, 3U);
  EXPECT_EQ(recipe->smoothquant_alpha, 0.75);
  EXPECT_EQ(recipe->rotation, RotationKind::kHadamard);
  EXPECT_EQ(recipe->down_rotation, RotationKind::kHadamard);
  EXPECT_EQ(recipe->activation_policy, (algo::ActivationThresholds{10.0, 20.0}));
  EXPECT_EQ(recipe->calibration, (CalibrationSource{"a/b.txt", 7, 99, 3}));
  const auto again = parse_recipe(print_recipe(*recipe), "again");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(*again, *recipe);
  EXPECT_EQ(print_recipe(*again), print_recipe(*recipe));
}

TEST(ParseRecipe, LeavesOnlyTheRotationOfDownOpen) {
  const auto recipe = parse_recipe("{weights: w4g32, rotate_down: auto}", "r.yaml");
  ASSERT_TRUE(recipe) << recipe.error().message;
  EXPECT_EQ(recipe->down_rotation, RotationKind::kAuto);
  EXPECT_TRUE(recipe->needs_calibration());
  const auto again = parse_recipe(print_recipe(*recipe), "again");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(*again, *recipe);
  EXPECT_EQ(message_of("{weights: w4g32, rotate: auto}"),
            "r.yaml: line 1, column 26: rotate \"auto\": expected none or hadamard");
  EXPECT_EQ(message_of("{weights: w4g32, rotate_down: up}"),
            "r.yaml: line 1, column 31: rotate_down \"up\": expected none, hadamard or auto");
}

TEST(ParseRecipe, RefusesRoundingThatTheWeightsDoNotAllow) {
  EXPECT_EQ(message_of("{weights: nf4, rounding: gptq}"),
            "r.yaml: line 1, column 1: rounding \"gptq\": expected rtn for weights of a table, got "
            "nf4b64-dq");
  EXPECT_EQ(message_of("{weights: w4g32, symmetric: true, rounding: hqq}"),
            "r.yaml: line 1, column 1: rounding \"hqq\": expected weights with zero points, got "
            "w4g32-sym. Use --asymmetric, or rounding search");
}

TEST(ApplyOverrides, RoundsTablesToNearestUnlessToldOtherwise) {
  RecipeOverrides flags;
  flags.weights = "nf4";
  const auto recipe = apply_overrides(builtin("fptq"), flags);
  ASSERT_TRUE(recipe) << recipe.error().message;
  EXPECT_EQ(recipe->rounding, algo::Rounding::kNearest);
  flags.rounding = "gptq";
  EXPECT_FALSE(apply_overrides(builtin("fptq"), flags));
}

TEST(ParseRecipe, NamesTheSettingThatIsOutOfRange) {
  EXPECT_EQ(message_of("{weights: w4g32, damping: -1}"),
            "r.yaml: line 1, column 27: damping \"-1\": expected a number from 0 to 10");
  EXPECT_EQ(message_of("{weights: w4g32, samples: 0}"),
            "r.yaml: line 1, column 27: samples \"0\": expected a number from 1 to 1000000");
  EXPECT_EQ(message_of("{weights: w4g32, refit: yes}"),
            "r.yaml: line 1, column 25: refit \"yes\": expected true or false");
  EXPECT_EQ(message_of("{weights: w4g32, rotate: left}"),
            "r.yaml: line 1, column 26: rotate \"left\": expected none or hadamard");
  EXPECT_EQ(message_of("{weights: w4g32, equalize: more}"),
            "r.yaml: line 1, column 28: equalize \"more\": expected none, lae, smoothquant or awq");
  EXPECT_EQ(message_of("{weights: w4g32, activation_policy: 15}"),
            "r.yaml: line 1, column 37: activation_policy \"15\": expected none, or two numbers "
            "like 15,150");
}

TEST(TableRecipe, ReadsBackAsItIsPrinted) {
  RecipeOverrides flags;
  flags.overrides = {"o_proj=nf4", "q_proj=bf16"};
  const auto recipe = apply_overrides(builtin("nf4"), flags);
  ASSERT_TRUE(recipe) << recipe.error().message;
  const std::string text = print_recipe(*recipe);
  EXPECT_EQ(text,
            "name: nf4\n"
            "weights: nf4b64-dq\n"
            "activations: a16\n"
            "embed: keep\n"
            "head: keep\n"
            "rounding: rtn\n"
            "scale_dtype: auto\n"
            "seed: 0\n"
            "overrides:\n"
            "  - match: 'o_proj'\n"
            "    scheme: nf4b64-dq-a16\n"
            "  - match: 'q_proj'\n"
            "    scheme: bf16\n");
  const auto again = parse_recipe(text, "r.yaml");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(*recipe, *again);
}

TEST(TableRecipe, KeepsEmbeddingAndClassifierUnlessToldOtherwise) {
  const auto file = parse_recipe("weights: nf4\n", "r.yaml");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(builtin("nf4").linears, file->linears);
  EXPECT_EQ(LayerChoice{}, file->embedding);
  EXPECT_EQ(LayerChoice{}, file->classifier);

  RecipeOverrides flags;
  flags.weights = "fp4b128";
  flags.head = "bf16";
  const auto recipe = apply_overrides(builtin("rtn"), flags);
  ASSERT_TRUE(recipe) << recipe.error().message;
  EXPECT_EQ("fp4b128", scheme_name(recipe->linears.scheme));
  EXPECT_EQ(LayerChoice{}, recipe->embedding);
  EXPECT_EQ(DType::kBF16, recipe->classifier.cast);
}

TEST(TableRecipe, RefusesEightBitActivationsAndSymmetry) {
  const std::string expected =
      "expected a16 with nf4b64-dq, whose weights are no integers, got 8-bit activations";
  RecipeOverrides activations;
  activations.activations = "a8t";
  for (const char* weights : {"", "nf4"}) {
    if (*weights != 0) activations.weights = weights;
    const auto recipe = apply_overrides(builtin(*weights != 0 ? "rtn" : "nf4"), activations);
    ASSERT_FALSE(recipe);
    EXPECT_EQ(recipe.error().kind, Error::Kind::kUnsupported);
    EXPECT_EQ(recipe.error().message, "--activations: " + expected);
  }
  const auto file = parse_recipe("weights: nf4\nactivations: a8t\n", "r.yaml");
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().message, "r.yaml: line 2, column 14: activations: " + expected);
  const auto layer = parse_layer_choice("nf4-a8t", std::nullopt);
  ASSERT_FALSE(layer);
  EXPECT_EQ(layer.error().message, "scheme \"nf4-a8t\": " + expected);

  RecipeOverrides symmetric;
  symmetric.symmetric = true;
  const auto recipe = apply_overrides(builtin("nf4"), symmetric);
  ASSERT_FALSE(recipe);
  EXPECT_EQ(recipe.error().message,
            "--symmetric, --asymmetric: the weights are entries of a table");
  EXPECT_FALSE(parse_recipe("weights: nf4\nsymmetric: true\n", "r.yaml"));
}

TEST(ApplyOverrides, ChangesActivationsOfLayersThatFollowTheRule) {
  RecipeOverrides layers;
  layers.overrides = {"o_proj=w8c", "q_proj=w8c-a16"};
  const auto recipe = apply_overrides(builtin("rtn"), layers);
  ASSERT_TRUE(recipe);
  RecipeOverrides flags;
  flags.activations = "a8t-asym";
  const auto changed = apply_overrides(*recipe, flags);
  ASSERT_TRUE(changed);
  EXPECT_EQ(changed->linears.scheme.activations, a8_dynamic_per_token(false));
  EXPECT_EQ(changed->classifier.scheme.activations, a8_dynamic_per_token(false));
  EXPECT_EQ(changed->overrides[0].choice.scheme.activations, a8_dynamic_per_token(false));
  EXPECT_EQ(changed->overrides[1].choice.scheme.activations, std::nullopt);
  EXPECT_EQ(changed->embedding.scheme.activations, std::nullopt);
}

TEST(ApplyOverrides, PutsTheFlagBeforeTheMessage) {
  RecipeOverrides flags;
  flags.overrides = {"o_proj"};
  const auto recipe = apply_overrides(builtin("rtn"), flags);
  ASSERT_FALSE(recipe);
  EXPECT_EQ(recipe.error().message, "--override \"o_proj\": expected REGEX=SCHEME");
  flags = {};
  flags.weights = "w3";
  const auto weights = apply_overrides(builtin("rtn"), flags);
  ASSERT_FALSE(weights);
  EXPECT_EQ(weights.error().message.find("--weights: scheme \"w3\": \"w3\" is not understood"), 0U);
}

TEST(LoadRecipe, SaysThatThereIsNoSuchFile) {
  const auto recipe = load_recipe("missing.yaml");
  ASSERT_FALSE(recipe);
  EXPECT_EQ(recipe.error().kind, Error::Kind::kNotFound);
  EXPECT_EQ(recipe.error().message,
            "recipe \"missing.yaml\": neither a file nor one of fptq, fptq-paper, rtn, int8, nf4");
}

}  // namespace
}  // namespace fptq::quantize
