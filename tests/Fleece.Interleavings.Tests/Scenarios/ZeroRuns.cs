// SPDX-License-Identifier: MIT
namespace Fleece.Interleavings.Scenarios;

/// <summary>
/// Long writes, which ask for zero runs before they claim: what was answered must still hold when it is used.
/// </summary>
/// <remarks>The granules are large, so that three of them reach the length from which on the filter asks.</remarks>
public sealed class ZeroRuns
{
    private const int G = 128 * 1024;

    [Fact]
    public void A_long_write_over_a_hole_that_another_fills() => Explorer.Exhaust(2, s =>
    {
        s.MakeDisk(3, G, holes: [0, 1, 2]);
        s.AddSession();
        s.Guest(() => s.Write(0, 3 * G, 0xA1));
        s.Guest(() => s.Write(G, G, 0xA2));
    });

    [Fact]
    public void A_long_discard_over_data_and_a_hole_against_a_read() => Explorer.Exhaust(2, s =>
    {
        s.MakeDisk(3, G, holes: [0, 2]);
        ModelSession session = s.AddSession();
        s.Reader(() => session.Read(0, 3 * G));
        s.Guest(() => s.Discard(0, 3 * G));
    });

    [Fact]
    public void A_long_write_over_a_hole_that_is_consumed() => Explorer.Exhaust(2, s =>
    {
        s.MakeDisk(3, G, holes: [0, 1]);
        ModelSession session = s.AddSession();
        s.Guest(() => s.Write(0, 3 * G, 0xA1));
        s.Reader(() => session.Consume(G, 2 * G));
    });
}
