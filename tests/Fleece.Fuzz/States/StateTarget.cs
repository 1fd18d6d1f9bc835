// SPDX-License-Identifier: MIT
using Fleece.Fuzz.Manifests;
using Fleece.Hosting.State;
using Fleece.Hosting.Tests.State;
using Fleece.TestKit;

namespace Fleece.Fuzz.States;

/// <summary>The text of a host's state.json.</summary>
/// <remarks>
/// The oracle, where the seal is left as it is: the text is refused, or one that a host wrote. With a mended seal it is refused, or
/// disks that a host may keep, which come out the same when they are written and read again.
/// </remarks>
internal sealed class StateTarget(bool isMended) : FuzzTarget
{
    private static readonly Lazy<IReadOnlyList<byte[]>> Texts = new(() =>
    [
        StateFormat.Current.Encode(StateSamples.Document()),
        StateFormat.Current.Encode(StateSamples.Document() with { Disks = [] }),
        StateFormat.Current.Encode(
            StateSamples.Document() with { Disks = [StateSamples.Plain("a"), StateSamples.Full("b"), StateSamples.Full("c")] }),
        new StateFormat(StateFormat.Version + 1, null).Encode(StateSamples.Document()),
    ]);

    /// <inheritdoc/>
    public override string Name => isMended ? "state-mended" : "state";

    /// <inheritdoc/>
    public override int SmokeCases => 2000;

    /// <inheritdoc/>
    public override IReadOnlyList<byte[]> Seeds() => Texts.Value;

    /// <inheritdoc/>
    public override byte[] Make(Seeds random, IReadOnlyList<byte[]> seeds)
    {
        byte[] text = random.Chance(40)
            ? base.Make(random, seeds)
            : LineMutator.Mutate(random, seeds[random.Next(seeds.Count)], seeds[random.Next(seeds.Count)]);
        return isMended ? SealMending.Mend(text) : text;
    }

    /// <inheritdoc/>
    protected override ValueTask JudgeAsync(byte[] input)
    {
        StateDocument? document = StateFormat.Current.Parse(input, out _, out StateFault? fault);
        if (document is null == fault is null)
        {
            throw new FuzzFindingException($"There is a state and a fault, or neither: {fault?.Reason}");
        }

        if (document is null)
        {
            return default;
        }

        if (!isMended && !Texts.Value.Any(text => input.AsSpan().SequenceEqual(text)))
        {
            throw new FuzzFindingException("A text that no host wrote passed for a state.");
        }

        byte[] again = StateFormat.Current.Encode(document);
        if (document.Disks.Any(disk => StateRules.FindFault(disk) is not null) ||
            StateFormat.Current.Parse(again, out _, out fault) is not { } read ||
            !StateFormat.Current.Encode(read).AsSpan().SequenceEqual(again))
        {
            throw new FuzzFindingException($"A state does not come back as it was written: {fault?.Reason}");
        }

        return default;
    }
}
