// SPDX-License-Identifier: MIT
using Fleece.Fuzz.Images;
using Fleece.TestKit;

namespace Fleece.Fuzz.Sessions;

/// <summary>The maps that a session's log goes on from; the log is as it was written.</summary>
/// <remarks>The oracle is that of <see cref="SessionLogTarget"/>. With mended checksums the log names the digest that the maps have then.
/// </remarks>
internal sealed class SessionMapsTarget(bool isMended) : FuzzTarget
{
    private static readonly Lazy<SessionFiles> Files = new(() => new SessionFiles());

    // The log that was suspended with maps.
    private static readonly Lazy<byte[]> Log = new(() => SparseForm.Unpack(
        File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "Corpus", "session-log", "suspended.bin"))));

    private static readonly Lazy<string> Truth = new(() =>
        Files.Value.Read(Log.Value, Files.Value.Maps) ?? throw new FuzzFindingException("The maps of the corpus are refused."));

    /// <inheritdoc/>
    public override string Name => isMended ? "session-maps-mended" : "session-maps";

    /// <inheritdoc/>
    public override int SmokeCases => 300;

    /// <inheritdoc/>
    public override IReadOnlyList<byte[]> Seeds() => [Files.Value.Maps];

    /// <inheritdoc/>
    public override byte[] Make(Seeds random, IReadOnlyList<byte[]> seeds)
    {
        byte[] maps = base.Make(random, seeds);
        if (isMended)
        {
            SessionMending.MendMaps(maps);
        }

        return maps;
    }

    /// <inheritdoc/>
    protected override ValueTask JudgeAsync(byte[] input)
    {
        byte[] log = Log.Value;
        if (isMended)
        {
            log = (byte[])log.Clone();
            SessionMending.Name(log, input);
        }

        string? facts = Files.Value.Read(log, input);
        if (!isMended && facts is not null && facts != Truth.Value)
        {
            throw new FuzzFindingException($"Damaged maps say something else: {facts}");
        }

        return default;
    }
}
