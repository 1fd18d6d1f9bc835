// SPDX-License-Identifier: MIT
using Fleece.Fuzz.Images;
using Fleece.TestKit;

namespace Fleece.Fuzz.Sessions;

/// <summary>The log of a session, whose maps are as they were written.</summary>
/// <remarks>
/// The oracle, where checksums are left as they are: the log is refused with a reason, or says what a log of the corpus says. With mended
/// checksums it is refused or read, within the bounds of a target; what a forger puts in is not judged.
/// </remarks>
internal sealed class SessionLogTarget(bool isMended) : FuzzTarget
{
    private static readonly Lazy<SessionFiles> Files = new(() => new SessionFiles());

    private HashSet<string>? _truths;

    /// <inheritdoc/>
    public override string Name => isMended ? "session-log-mended" : "session-log";

    /// <inheritdoc/>
    public override int SmokeCases => 300;

    /// <inheritdoc/>
    protected override string CorpusName => "session-log";

    /// <inheritdoc/>
    public override IReadOnlyList<byte[]> Seeds() => [.. base.Seeds().Select(SparseForm.Unpack)];

    /// <inheritdoc/>
    public override byte[] Pack(byte[] input) => SparseForm.Pack(input);

    /// <inheritdoc/>
    public override byte[] Make(Seeds random, IReadOnlyList<byte[]> seeds)
    {
        // Of one log alone: a sealed word from the same place of another log is whole, and nothing swaps words between files.
        byte[] log = Mutator.Mutate(random, [seeds[random.Next(seeds.Count)]]);
        if (isMended)
        {
            SessionMending.Mend(log);
        }

        return log;
    }

    /// <inheritdoc/>
    protected override ValueTask JudgeAsync(byte[] input)
    {
        string? facts = Files.Value.Read(SparseForm.Unpack(input), Files.Value.Maps);
        if (!isMended && facts is not null && !Truths().Contains(facts))
        {
            throw new FuzzFindingException($"A damaged log says something else: {facts}");
        }

        return default;
    }

    private HashSet<string> Truths() => _truths ??= [.. Seeds().Select(seed =>
        Files.Value.Read(seed, Files.Value.Maps) ?? throw new FuzzFindingException("A log of the corpus is refused."))];
}
