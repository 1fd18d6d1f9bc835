// SPDX-License-Identifier: MIT
using System.Text;
using Fleece.Fuzz.Manifests;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Fuzz.Sessions;

/// <summary>The marker beside an image.</summary>
/// <remarks>
/// The oracle, where the seal is left as it is: the text is refused with a reason and names no session, or is one that a Fleece wrote. With
/// a mended seal it is refused, or names sessions that come back when they are written and read again.
/// </remarks>
internal sealed class MarkerTarget(bool isMended) : FuzzTarget
{
    private const string SealName = "sha256 ";

    private static readonly Lazy<IReadOnlyList<byte[]>> Texts = new(() =>
    [
        SessionMarkerFormat.Encode([Session(1)]),
        SessionMarkerFormat.Encode([Session(1), Session(2), Session(3)]),
        SessionMarkerFormat.Encode([]),
        SessionMarkerFormat.Seal("{\n  \"fleeceSessions\": 3,\n  \"writtenBy\": \"9.0.0\"\n}\n"),
    ]);

    /// <inheritdoc/>
    public override string Name => isMended ? "marker-mended" : "marker";

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
        int at = text.AsSpan().LastIndexOf(Encoding.ASCII.GetBytes(SealName));
        return isMended && at >= 0 ? SessionMarkerFormat.Seal(Encoding.UTF8.GetString(text.AsSpan(0, at))) : text;
    }

    /// <inheritdoc/>
    protected override ValueTask JudgeAsync(byte[] input)
    {
        IReadOnlyList<MarkedSession> sessions = SessionMarkerFormat.Parse(input, out string? fault);
        if (fault is not null)
        {
            if (fault.Length == 0 || sessions.Count != 0)
            {
                throw new FuzzFindingException($"A marker that is refused names {sessions.Count} sessions: '{fault}'");
            }

            return default;
        }

        if (!isMended && !Texts.Value.Any(text => input.AsSpan().TrimEnd((byte)0).SequenceEqual(text)))
        {
            throw new FuzzFindingException("A text that no Fleece wrote passed for a marker.");
        }

        IReadOnlyList<MarkedSession> again = SessionMarkerFormat.Parse(SessionMarkerFormat.Encode(sessions), out fault);
        if (fault is not null || !again.SequenceEqual(sessions))
        {
            throw new FuzzFindingException($"A marker does not come back as it was written: {fault}");
        }

        return default;
    }

    private static MarkedSession Session(byte number) => new(
        new Guid(number, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), $"vm/nightly-{number}", $"/var/lib/fleece/sessions/{number}.log");
}
