// SPDX-License-Identifier: MIT
using Fleece.Fuzz.Bitmaps;
using Fleece.Fuzz.Images;
using Fleece.Fuzz.Journals;
using Fleece.Fuzz.Manifests;
using Fleece.Fuzz.Nbd;
using Fleece.Fuzz.Sessions;
using Fleece.Fuzz.States;
using Fleece.Images;
using Fleece.Images.Foreign;

namespace Fleece.Fuzz;

/// <summary>Everything that is fuzzed: each image format that can be told from its content, but for those that only an adapter reads,
/// the manifests of backups, both ends of NBD, the file that keeps bitmaps, the state of a host,
/// and what a killed process leaves: logs of sessions with their maps, markers and journals of images.</summary>
internal static class FuzzTargets
{
    /// <summary>All but the canary, which has a defect.</summary>
    public static IReadOnlyList<FuzzTarget> All { get; } =
    [
        .. ImageDrivers.WithMagic.Where(driver => driver is not ForeignDriver).Select(driver => new ImageTarget(driver)),
        new ManifestTarget(),
        new ServerTarget(),
        new ClientTarget(),
        new SidecarTarget(isMended: false),
        new SidecarTarget(isMended: true),
        new StateTarget(isMended: false),
        new StateTarget(isMended: true),
        new SessionLogTarget(isMended: false),
        new SessionLogTarget(isMended: true),
        new SessionMapsTarget(isMended: false),
        new SessionMapsTarget(isMended: true),
        new MarkerTarget(isMended: false),
        new MarkerTarget(isMended: true),
        new JournalTarget(isMended: false),
        new JournalTarget(isMended: true),
    ];

    /// <summary>The target of that name.</summary>
    public static FuzzTarget Find(string name) =>
        All.Append(new CanaryTarget()).FirstOrDefault(target => target.Name == name)
        ?? throw new ArgumentException(
            $"There is no target '{name}': {string.Join(", ", All.Select(target => target.Name))}, canary.");
}
