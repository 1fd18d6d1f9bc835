// SPDX-License-Identifier: MIT
namespace Fleece.Disks.Storage;

/// <summary>A session of the disk, whose temp image the disk's <see cref="ChangeWitness"/> witnesses too.</summary>
/// <remarks>Threading. All members are safe from any thread.</remarks>
internal interface IWitnessedSession
{
    /// <summary>True when a later process will ask until when its temp image was this one's.</summary>
    bool CanResume { get; }

    /// <summary>Full path of the temp image.</summary>
    string TempPath { get; }

    /// <summary>Breaks the session where the system could not store what temp or the session's log has. It does not throw.</summary>
    void FindLoss();
}
