// SPDX-License-Identifier: MIT
namespace Fleece.Disks.Resuming;

/// <summary>How far a session has come, as its log has it. The numbers are those of the file.</summary>
internal enum StoredState
{
    /// <summary>Its instant has not come. A restart undoes it, unless the log that leads its start is beyond this.</summary>
    Starting = 1,

    /// <summary>It has its instant. A restart resumes it.</summary>
    Running = 2,

    /// <summary>It is being stopped with success. A restart finishes that.</summary>
    EndingSuccess = 3,

    /// <summary>It is being stopped without success. A restart finishes that.</summary>
    EndingFailure = 4,

    /// <summary>Its process ended in order. A restart resumes it, also after the system was started anew.</summary>
    Suspended = 5,

    /// <summary>It can't be resumed. It is listed until a user discards it.</summary>
    Lost = 6,

    /// <summary>A shorter log has taken the place of this one, and tells of what came later.</summary>
    Superseded = 7,
}
